/** Stripe's events: the object inside `data.object`, with its amount in minor units written for people. */

import { bold, clip, escape, link } from "../text.js";

const ZERO_DECIMAL = new Set(
  "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split(" "),
);
const THREE_DECIMAL = new Set("bhd jod kwd omr tnd".split(" "));

export function money(minor, currency) {
  if (!Number.isSafeInteger(minor)) return "an unknown amount";
  const code = String(currency ?? "").toLowerCase();
  const digits = ZERO_DECIMAL.has(code) ? 0 : THREE_DECIMAL.has(code) ? 3 : 2;
  const padded = String(Math.abs(minor)).padStart(digits + 1, "0");
  const units = padded.slice(0, padded.length - digits).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${minor < 0 ? "-" : ""}${units}${digits ? `.${padded.slice(-digits)}` : ""} ${code.toUpperCase()}`.trim();
}

const EVENTS = {
  "invoice.paid": (o) => ["success", `was paid: ${money(o.amount_paid, o.currency)}`],
  "invoice.payment_failed": (o) => ["error", `could not be paid: ${money(o.amount_due, o.currency)}, attempt ${o.attempt_count ?? 1}`],
  "charge.succeeded": (o) => ["success", `charged ${money(o.amount, o.currency)}`],
  "charge.refunded": (o) => ["warning", `refunded ${money(o.amount_refunded, o.currency)}`],
  "charge.dispute.created": (o) => ["error", `is disputed: ${money(o.amount, o.currency)}, ${o.reason ?? "no reason given"}`],
  "payment_intent.succeeded": (o) => ["success", `received ${money(o.amount_received ?? o.amount, o.currency)}`],
  "payment_intent.payment_failed": (o) => ["error", `failed: ${o.last_payment_error?.message ?? "no reason given"}`],
  "checkout.session.completed": (o) => ["success", `completed a checkout of ${money(o.amount_total, o.currency)}`],
  "customer.subscription.created": (o) => ["success", `subscribed (${o.status ?? "unknown"})`],
  "customer.subscription.deleted": () => ["warning", "cancelled the subscription"],
};

export function formatStripe(payload, style) {
  const object = payload.data?.object ?? {};
  const type = String(payload.type ?? "unknown");
  const [severity, told] = Object.hasOwn(EVENTS, type) ? EVENTS[type](object) : ["info", `reported ${type}`];
  const say = (text, length = 120) => escape(clip(text, length), style.dialect);
  const who = object.customer_email ?? object.customer_details?.email ?? object.customer ?? object.id ?? "someone";
  const url = object.hosted_invoice_url ?? object.receipt_url;
  const name = object.number ? `invoice ${link(url, say(object.number), style.dialect)} of ` : "";
  const test = payload.livemode === false ? " (test mode)" : "";
  return { severity, title: `${name}${bold(say(who), style.dialect)} ${say(told, 200)}${test}`, body: "", url };
}
