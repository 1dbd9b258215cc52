export const f = (input) => "\x1b[31m" + input + "\x1b[0m\u2028\u00a0";
