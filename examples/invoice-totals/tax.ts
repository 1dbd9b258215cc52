/** Which rate a line has, and the tax on an amount with or without the tax inside it. */

import { type Rational, type RoundingMode, HUNDRED, ZERO, add, compare, decimal, divide, multiply, round, whole } from "./rational.ts";

export interface TaxRule {
  /** Groups the lines of the breakdown: the category's name, or the rate when the line named none. */
  key: string;
  /** Per cent, as written. */
  rate: string;
  percent: Rational;
  note?: string;
}

const NAME = /^[a-z][a-z-]*$/;

/** Categories that hold in every configuration: no tax is charged, and the invoice has to say why. */
const UNTAXED: Readonly<Record<string, string>> = {
  exempt: "Exempt from tax.",
  "reverse-charge": "Reverse charge: the customer accounts for the tax.",
};

/** `tax` is a category of the configuration (`"standard"`), an untaxed one (`"exempt"`) or a rate (`"7.5"`). */
export function taxRule(tax: string | number, rates: Readonly<Record<string, string>>, where: string): TaxRule {
  if (typeof tax === "string" && NAME.test(tax)) {
    const note = Object.hasOwn(UNTAXED, tax) ? UNTAXED[tax] : undefined;
    if (note !== undefined) return { key: tax, rate: "0", percent: ZERO, note };
    const rate = Object.hasOwn(rates, tax) ? rates[tax] : undefined;
    if (rate === undefined) {
      const known = [...Object.keys(rates), ...Object.keys(UNTAXED)].sort().join(", ");
      throw new RangeError(`${where}: the tax category "${tax}" is not configured; there are ${known}`);
    }
    return { key: tax, rate, percent: percentage(rate, `configuration.taxRates.${tax}`) };
  }
  return { key: `${tax}%`, rate: String(tax), percent: percentage(tax, where) };
}

function percentage(value: string | number, where: string): Rational {
  const percent = decimal(value, where);
  if (compare(percent, ZERO) < 0 || compare(percent, HUNDRED) > 0) {
    throw new RangeError(`${where}: the rate ${value} is not between 0 and 100`);
  }
  return percent;
}

/** The tax on top of a net amount, in minor units. */
export function taxOnNet(net: bigint, percent: Rational, mode: RoundingMode): bigint {
  return round(divide(multiply(whole(net), percent), HUNDRED), mode);
}

/** The tax inside a gross amount, in minor units. */
export function taxInGross(gross: bigint, percent: Rational, mode: RoundingMode): bigint {
  return round(divide(multiply(whole(gross), percent), add(HUNDRED, percent)), mode);
}
