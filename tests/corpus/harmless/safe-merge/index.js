const FORBIDDEN = new Set(["__proto__", "constructor", "prototype"]);

function merged(to, from) {
  for (const [key, value] of Object.entries(from)) {
    if (FORBIDDEN.has(key)) continue;
    const both = value && typeof value === "object" && !Array.isArray(value);
    to[key] = both ? merged(to[key] ?? {}, value) : value;
  }
  return to;
}

export const merge = (input) => merged(structuredClone(input.base), input.patch);
