export const write = (words) => words.slice(0, 3).join(" ");
