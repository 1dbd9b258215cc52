/** A discount is a percentage or a fixed amount; it never turns a price into a credit. */

import { type Rational, HUNDRED, ZERO, compare, decimal, divide, multiply } from "./rational.ts";

export interface Discount {
  percent?: string | number;
  amount?: string | number;
}

/** The exact amount that `discount` takes off `base`, in the currency of `base`. */
export function discountOn(base: Rational, discount: Discount | undefined, where: string): Rational {
  if (discount === undefined) return ZERO;
  if ((discount.percent === undefined) === (discount.amount === undefined)) {
    throw new RangeError(`${where}: give either a percent or an amount`);
  }
  if (discount.percent !== undefined) {
    const percent = decimal(discount.percent, `${where}.percent`);
    if (compare(percent, ZERO) < 0 || compare(percent, HUNDRED) > 0) {
      throw new RangeError(`${where}.percent: ${discount.percent} is not between 0 and 100`);
    }
    return divide(multiply(base, percent), HUNDRED);
  }
  const fixed = decimal(discount.amount ?? 0, `${where}.amount`);
  if (compare(fixed, ZERO) < 0) throw new RangeError(`${where}.amount: ${discount.amount} is less than zero`);
  if (compare(fixed, base) > 0) throw new RangeError(`${where}.amount: ${discount.amount} is more than the price`);
  return fixed;
}
