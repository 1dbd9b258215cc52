export async function allow(input, context) {
  const { cache } = context.services;
  const key = `hits:${input.user}:${Math.floor(Date.now() / 60000)}`;
  const hits = await cache.increment(key, 1, { ttl: 60 });
  return { allowed: hits <= (context.configuration.perMinute ?? 60), hits };
}
