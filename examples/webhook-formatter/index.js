/**
 * Webhooks in, chat messages out. `format` is for callers that have the payload; `onGithub`, `onStripe` and `onGeneric`
 * are the plugin's own HTTP endpoints, which senders of webhooks can be pointed at.
 */

import { formatGeneric } from "./formats/generic.js";
import { eventOf, formatGithub } from "./formats/github.js";
import { formatStripe } from "./formats/stripe.js";
import { linkable } from "./text.js";

/** @typedef {import("@plugyard/sdk").Context} Context */
/** @typedef {import("@plugyard/sdk").EndpointRequest} EndpointRequest */
/** @typedef {import("@plugyard/sdk").EndpointResponse} EndpointResponse */

const SIGNS = { error: "🔴", warning: "🟠", success: "🟢", info: "🔵" };

function styleOf(configuration) {
  return {
    dialect: configuration.dialect ?? "slack",
    items: configuration.items ?? 8,
    quote: configuration.quoteLength ?? 240,
    signs: configuration.signs ?? true,
  };
}

/** Stripe's events carry `object: "event"`; GitHub's a repository and a sender. */
function sourceOf(payload) {
  if (payload?.object === "event" && typeof payload.type === "string") return "stripe";
  if (payload?.sender?.login && (payload.repository || payload.organization)) return "github";
  return payload && "hook_id" in Object(payload) && "zen" in Object(payload) ? "github" : "generic";
}

function message(source, event, payload, style) {
  const object = payload !== null && typeof payload === "object" && !Array.isArray(payload) ? payload : {};
  const told =
    source === "github" ? formatGithub(object, event ?? eventOf(object), style)
    : source === "stripe" ? formatStripe(object, style)
    : formatGeneric(payload, style);
  const sign = style.signs ? `${SIGNS[told.severity]} ` : "";
  return {
    source,
    severity: told.severity,
    text: `${sign}${told.title}${told.body ? `\n${told.body}` : ""}`,
    ...(linkable(told.url) ? { url: told.url } : {}),
  };
}

/**
 * @param {{ source?: "github" | "stripe" | "generic", event?: string, payload: unknown }} input
 * @param {Context} context
 */
export function format(input, context) {
  const source = input.source ?? sourceOf(input.payload);
  const result = message(source, input.event, input.payload, styleOf(context.configuration));
  context.services.logger.info("webhook formatted", { source, severity: result.severity });
  return result;
}

/**
 * @param {EndpointRequest} request
 * @param {Context} context
 * @returns {EndpointResponse}
 */
export function onGithub(request, context) {
  return answer("github", request, context);
}

/**
 * @param {EndpointRequest} request
 * @param {Context} context
 * @returns {EndpointResponse}
 */
export function onStripe(request, context) {
  return answer("stripe", request, context);
}

/**
 * @param {EndpointRequest} request
 * @param {Context} context
 * @returns {EndpointResponse}
 */
export function onGeneric(request, context) {
  return answer("generic", request, context);
}

function answer(source, request, context) {
  const json = { "content-type": "application/json; charset=utf-8" };
  let payload = request.body;
  if (typeof payload === "string") {
    try {
      payload = JSON.parse(payload);
    } catch (error) {
      return { status: 400, headers: json, body: { error: `the body is not JSON: ${error.message}` } };
    }
  }
  if (payload === null || payload === undefined) {
    return { status: 400, headers: json, body: { error: "the body is empty; send the webhook's JSON" } };
  }
  const result = message(source, request.headers["x-github-event"], payload, styleOf(context.configuration));
  context.services.logger.info("webhook received", { source, severity: result.severity });
  return { status: 200, headers: json, body: result };
}
