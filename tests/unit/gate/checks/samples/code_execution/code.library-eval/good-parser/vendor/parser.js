export const parse = (text) => JSON.parse(text);
