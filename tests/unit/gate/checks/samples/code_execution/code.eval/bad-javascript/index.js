export const f = (input) => globalThis.eval(input.x); // <- found
