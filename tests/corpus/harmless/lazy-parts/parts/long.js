export const write = (words) => words.join(", ");
