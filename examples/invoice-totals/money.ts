/** Amounts in integer minor units (cents, yen, fils) and the number of minor digits that each currency has. */

import { type Rational, type RoundingMode, fraction, multiply, round, whole } from "./rational.ts";

/** What the caller sees: the integer for programs and the text for people. */
export interface Amount {
  minor: number;
  text: string;
}

/** ISO 4217 currencies whose minor unit is not a hundredth. */
const MINOR_DIGITS: Readonly<Record<string, number>> = {
  BIF: 0, CLP: 0, DJF: 0, GNF: 0, ISK: 0, JPY: 0, KMF: 0, KRW: 0, PYG: 0, RWF: 0, UGX: 0, UYI: 0, VND: 0, VUV: 0,
  XAF: 0, XOF: 0, XPF: 0,
  BHD: 3, IQD: 3, JOD: 3, KWD: 3, LYD: 3, OMR: 3, TND: 3,
  CLF: 4, UYW: 4,
};

export function minorDigits(currency: string): number {
  return MINOR_DIGITS[currency] ?? 2;
}

/** From an exact amount in major units to minor units, rounded once. */
export function toMinor(major: Rational, currency: string, mode: RoundingMode): bigint {
  return round(multiply(major, whole(10n ** BigInt(minorDigits(currency)))), mode);
}

export function fromMinor(minor: bigint, currency: string): Rational {
  return fraction(minor, 10n ** BigInt(minorDigits(currency)));
}

/** JSON numbers are exact up to 2^53; a larger amount is refused instead of being answered a little wrong. */
export function amount(minor: bigint, currency: string): Amount {
  const value = Number(minor);
  if (!Number.isSafeInteger(value)) throw new RangeError(`the amount ${minor} does not fit into a JSON number`);
  const digits = minorDigits(currency);
  const padded = (minor < 0n ? -minor : minor).toString().padStart(digits + 1, "0");
  const text = digits === 0 ? padded : `${padded.slice(0, -digits)}.${padded.slice(-digits)}`;
  return { minor: value, text: minor < 0n ? `-${text}` : text };
}

/**
 * Divide `total` in proportion to `weights` without losing or inventing a minor unit: everyone gets the floor of their
 * share, and what is left goes one by one to the largest remainders (the earlier one first when they are equal).
 */
export function allocate(total: bigint, weights: readonly bigint[]): bigint[] {
  const sum = weights.reduce((a, b) => a + b, 0n);
  if (sum <= 0n || weights.some((weight) => weight < 0n)) {
    throw new RangeError("weights must not be negative, and one of them must be more than zero");
  }
  const sign = total < 0n ? -1n : 1n;
  const magnitude = total * sign;
  const shares = weights.map((weight, index) => ({
    index,
    share: (magnitude * weight) / sum,
    remainder: (magnitude * weight) % sum,
  }));
  let left = magnitude - shares.reduce((a, { share }) => a + share, 0n);
  const byRemainder = [...shares].sort((a, b) =>
    a.remainder === b.remainder ? a.index - b.index : a.remainder > b.remainder ? -1 : 1,
  );
  for (const entry of byRemainder) {
    if (left === 0n) break;
    entry.share += 1n;
    left -= 1n;
  }
  return shares.map(({ share }) => share * sign);
}
