export function matches(input) {
  const pattern = new RegExp(input.pattern, "gu");
  return [...input.text.matchAll(pattern)].slice(0, 100).map((match) => ({ at: match.index, text: match[0] }));
}

export const HEX = "\x1b[31m";
export const LINE = "\u2028";
