export const f = (input, context) => f.constructor("return process")(); // <- found
