/**
 * Exact fractions. Money is never held in a floating point number here: prices, quantities, rates and percentages are
 * read as decimal text and stay exact until one deliberate rounding to minor units.
 */

export interface Rational {
  readonly numerator: bigint;
  /** Always positive. */
  readonly denominator: bigint;
}

export type RoundingMode = "half-even" | "half-up" | "down";

const DECIMAL = /^(-?)(\d{1,18})(?:\.(\d{1,18}))?$/;

export const ZERO: Rational = { numerator: 0n, denominator: 1n };
export const HUNDRED: Rational = { numerator: 100n, denominator: 1n };

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a < 0n ? -a : a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

export function fraction(numerator: bigint, denominator: bigint): Rational {
  if (denominator === 0n) throw new RangeError("division by zero");
  const sign = denominator < 0n ? -1n : 1n;
  const divisor = greatestCommonDivisor(numerator, denominator * sign);
  return { numerator: (numerator * sign) / divisor, denominator: (denominator * sign) / divisor };
}

export function whole(value: bigint | number): Rational {
  return { numerator: BigInt(value), denominator: 1n };
}

/** Read `"12.50"` or the JSON number `12.5`; `where` names the field in the message when the text is no decimal. */
export function decimal(value: string | number, where: string): Rational {
  const match = DECIMAL.exec(String(value));
  if (match === null) throw new RangeError(`${where}: ${JSON.stringify(value)} is not a plain decimal number`);
  const digits = match[3] ?? "";
  const magnitude = BigInt(match[2] + digits);
  return fraction(match[1] === "-" ? -magnitude : magnitude, 10n ** BigInt(digits.length));
}

export const add = (a: Rational, b: Rational): Rational =>
  fraction(a.numerator * b.denominator + b.numerator * a.denominator, a.denominator * b.denominator);

export const negate = (a: Rational): Rational => ({ numerator: -a.numerator, denominator: a.denominator });

export const subtract = (a: Rational, b: Rational): Rational => add(a, negate(b));

export const multiply = (a: Rational, b: Rational): Rational =>
  fraction(a.numerator * b.numerator, a.denominator * b.denominator);

export const divide = (a: Rational, b: Rational): Rational =>
  fraction(a.numerator * b.denominator, a.denominator * b.numerator);

export const compare = (a: Rational, b: Rational): number => {
  const difference = a.numerator * b.denominator - b.numerator * a.denominator;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
};

/** Round to a whole number. Signs are symmetric: what holds for 2.5 holds mirrored for -2.5. */
export function round(value: Rational, mode: RoundingMode): bigint {
  const negative = value.numerator < 0n;
  const magnitude = negative ? -value.numerator : value.numerator;
  let quotient = magnitude / value.denominator;
  const twiceRest = (magnitude % value.denominator) * 2n;
  const up =
    mode !== "down" &&
    (twiceRest > value.denominator ||
      (twiceRest === value.denominator && (mode === "half-up" || quotient % 2n === 1n)));
  if (up) quotient += 1n;
  return negative ? -quotient : quotient;
}
