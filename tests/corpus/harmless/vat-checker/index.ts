type Input = { country: string; number: string };

const SHAPES: Record<string, RegExp> = {
  DE: /^\d{9}$/,
  AT: /^U\d{8}$/,
  FR: /^[0-9A-HJ-NP-Z]{2}\d{9}$/,
  NL: /^\d{9}B\d{2}$/,
};

export function check(input: Input) {
  const shape = SHAPES[input.country];
  return { known: shape !== undefined, valid: shape?.test(input.number.replace(/[\s.-]/g, "")) ?? false };
}
