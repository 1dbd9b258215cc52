/** The functions that the manifest declares. Their input was checked against its schema before they are called. */

import type { Context } from "@plugyard/sdk";

import { type Invoice, type Rules, type Totals, totals } from "./invoice.ts";
import { type Amount, allocate, amount, toMinor } from "./money.ts";
import { decimal } from "./rational.ts";
import { taxInGross, taxRule } from "./tax.ts";

type Configuration = Partial<Rules>;

interface Payment {
  amount: string | number;
  currency?: string;
}

function rulesOf(context: Context<Configuration>): Rules {
  const { currency, rounding, roundTaxPer, defaultTax, taxRates } = context.configuration;
  return {
    currency: currency ?? "EUR",
    rounding: rounding ?? "half-even",
    roundTaxPer: roundTaxPer ?? "rate",
    defaultTax: defaultTax ?? "standard",
    taxRates: taxRates ?? { standard: "19", reduced: "7", zero: "0" },
  };
}

/** Totals of an invoice, with the breakdown that the law asks for: taxable amount and tax for each rate. */
export function total(input: Invoice, context: Context<Configuration>): Totals {
  const result = totals(input, rulesOf(context));
  context.services.logger.info("invoice totalled", {
    lines: result.lines.length,
    currency: result.currency,
    gross: result.gross.minor,
  });
  return result;
}

/** Divide an amount into instalments that add up to it exactly, equal ones or by weights. */
export function instalments(
  input: Payment & { parts?: number; weights?: number[] },
  context: Context<Configuration>,
): { currency: string; total: Amount; instalments: Amount[] } {
  const rules = rulesOf(context);
  const currency = input.currency ?? rules.currency;
  const minor = toMinor(decimal(input.amount, "amount"), currency, rules.rounding);
  const weights = (input.weights ?? Array.from({ length: input.parts ?? 1 }, () => 1)).map(BigInt);
  return {
    currency,
    total: amount(minor, currency),
    instalments: allocate(minor, weights).map((part) => amount(part, currency)),
  };
}

/** Take a gross amount apart into net and tax, as receipts need it. */
export function extractTax(
  input: Payment & { tax?: string | number },
  context: Context<Configuration>,
): { currency: string; rate: string; net: Amount; tax: Amount; gross: Amount } {
  const rules = rulesOf(context);
  const currency = input.currency ?? rules.currency;
  const gross = toMinor(decimal(input.amount, "amount"), currency, rules.rounding);
  const { rate, percent } = taxRule(input.tax ?? rules.defaultTax, rules.taxRates, "tax");
  const tax = taxInGross(gross, percent, rules.rounding);
  return {
    currency,
    rate,
    net: amount(gross - tax, currency),
    tax: amount(tax, currency),
    gross: amount(gross, currency),
  };
}
