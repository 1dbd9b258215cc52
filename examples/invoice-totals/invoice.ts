/** The invoice itself: lines to one currency, discounts, the breakdown by tax rate, totals. */

import { type Discount, discountOn } from "./discounts.ts";
import { type Amount, allocate, amount, fromMinor, toMinor } from "./money.ts";
import { type Rational, type RoundingMode, ZERO, compare, decimal, multiply, subtract } from "./rational.ts";
import { type TaxRule, taxInGross, taxOnNet, taxRule } from "./tax.ts";

export interface Line {
  description: string;
  quantity: string | number;
  unitPrice: string | number;
  /** ISO 4217; the invoice's own when absent. */
  currency?: string;
  tax?: string | number;
  discount?: Discount;
}

export interface Invoice {
  currency?: string;
  pricesIncludeTax?: boolean;
  /** One unit of the key is worth so much in the invoice's currency. */
  exchangeRates?: Record<string, string | number>;
  discount?: Discount;
  lines: Line[];
}

export interface Rules {
  currency: string;
  rounding: RoundingMode;
  /** Whether tax is rounded once for each rate of the invoice, or for every line and then added up. */
  roundTaxPer: "rate" | "line";
  defaultTax: string;
  taxRates: Readonly<Record<string, string>>;
}

export interface LineTotal {
  description: string;
  tax: string;
  /** Quantity times price before any discount, in the invoice's currency. */
  list: Amount;
  discount: Amount;
  /** What remains after the line's discount and its share of the invoice's. */
  charged: Amount;
  exchangeRate?: string;
}

export interface TaxTotal {
  tax: string;
  rate: string;
  taxable: Amount;
  amount: Amount;
  lines: number[];
  note?: string;
}

export interface Totals {
  currency: string;
  lines: LineTotal[];
  taxes: TaxTotal[];
  discount: Amount;
  net: Amount;
  tax: Amount;
  gross: Amount;
}

interface Priced {
  line: Line;
  rule: TaxRule;
  list: bigint;
  afterOwnDiscount: bigint;
  exchangeRate: string | undefined;
}

interface Charged extends Priced {
  charged: bigint;
}

/** How much of the invoice's currency one unit of `currency` is worth. */
function exchange(currency: string, invoice: Invoice, own: string, where: string): [Rational, string | undefined] {
  if (currency === own) return [decimal(1, where), undefined];
  const rates = invoice.exchangeRates ?? {};
  const text = Object.hasOwn(rates, currency) ? rates[currency] : undefined;
  if (text === undefined) throw new RangeError(`${where}: no exchange rate from ${currency} to ${own} was given`);
  const rate = decimal(text, `exchangeRates.${currency}`);
  if (compare(rate, ZERO) <= 0) throw new RangeError(`exchangeRates.${currency}: ${text} is not more than zero`);
  return [rate, String(text)];
}

function price(line: Line, index: number, invoice: Invoice, currency: string, rules: Rules): Priced {
  const where = `lines[${index}]`;
  const list = multiply(decimal(line.quantity, `${where}.quantity`), decimal(line.unitPrice, `${where}.unitPrice`));
  if (compare(list, ZERO) < 0) throw new RangeError(`${where}: quantity times unitPrice is less than zero`);
  const [rate, exchangeRate] = exchange(line.currency ?? currency, invoice, currency, `${where}.currency`);
  const reduced = subtract(list, discountOn(list, line.discount, `${where}.discount`));
  return {
    line,
    rule: taxRule(line.tax ?? rules.defaultTax, rules.taxRates, `${where}.tax`),
    list: toMinor(multiply(list, rate), currency, rules.rounding),
    afterOwnDiscount: toMinor(multiply(reduced, rate), currency, rules.rounding),
    exchangeRate,
  };
}

/** The invoice's own discount is shared among the lines, so that every tax rate bears its part of it. */
function share(priced: Priced[], invoice: Invoice, currency: string, rules: Rules): Charged[] {
  const sum = priced.reduce((total, entry) => total + entry.afterOwnDiscount, 0n);
  const taken = toMinor(discountOn(fromMinor(sum, currency), invoice.discount, "discount"), currency, rules.rounding);
  const shares = taken === 0n ? priced.map(() => 0n) : allocate(taken, priced.map((entry) => entry.afterOwnDiscount));
  return priced.map((entry, index) => ({ ...entry, charged: entry.afterOwnDiscount - (shares[index] ?? 0n) }));
}

function breakdown(charged: Charged[], inclusive: boolean, rules: Rules) {
  const taxOf = inclusive ? taxInGross : taxOnNet;
  const groups = new Map<string, { rule: TaxRule; base: bigint; perLine: bigint; lines: number[] }>();
  charged.forEach(({ rule, charged: value }, index) => {
    const group = groups.get(rule.key) ?? { rule, base: 0n, perLine: 0n, lines: [] };
    group.base += value;
    group.perLine += taxOf(value, rule.percent, rules.rounding);
    group.lines.push(index);
    groups.set(rule.key, group);
  });
  return [...groups.values()]
    .map(({ rule, base, perLine, lines }) => {
      const tax = rules.roundTaxPer === "line" ? perLine : taxOf(base, rule.percent, rules.rounding);
      return { rule, net: inclusive ? base - tax : base, tax, lines };
    })
    .sort((a, b) => compare(b.rule.percent, a.rule.percent));
}

export function totals(invoice: Invoice, rules: Rules): Totals {
  const currency = invoice.currency ?? rules.currency;
  const money = (minor: bigint): Amount => amount(minor, currency);
  const priced = invoice.lines.map((line, index) => price(line, index, invoice, currency, rules));
  const charged = share(priced, invoice, currency, rules);
  const groups = breakdown(charged, invoice.pricesIncludeTax ?? false, rules);
  const net = groups.reduce((sum, group) => sum + group.net, 0n);
  const tax = groups.reduce((sum, group) => sum + group.tax, 0n);
  return {
    currency,
    lines: charged.map(({ line, rule, list, charged: value, exchangeRate }) => ({
      description: line.description,
      tax: rule.key,
      list: money(list),
      discount: money(list - value),
      charged: money(value),
      ...(exchangeRate === undefined ? {} : { exchangeRate }),
    })),
    taxes: groups.map(({ rule, net: taxable, tax: due, lines }) => ({
      tax: rule.key,
      rate: rule.rate,
      taxable: money(taxable),
      amount: money(due),
      lines,
      ...(rule.note === undefined ? {} : { note: rule.note }),
    })),
    discount: money(charged.reduce((sum, entry) => sum + entry.list - entry.charged, 0n)),
    net: money(net),
    tax: money(tax),
    gross: money(net + tax),
  };
}
