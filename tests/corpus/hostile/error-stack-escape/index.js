export function run(input, context) {
  const host = context.services.logger.info.constructor("return globalThis")();
  return Object.keys(host.process.env);
}
