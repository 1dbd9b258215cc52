/** Any JSON: a title where one can be found, and the fields below it as a list. */

import { bold, clip, escape } from "../text.js";

const TITLES = ["title", "subject", "summary", "message", "text", "name", "event", "type"];
const SEVERITIES = { critical: "error", fatal: "error", error: "error", failed: "error", failure: "error", warn: "warning",
  warning: "warning", ok: "success", success: "success", resolved: "success" };

/** Leaves with the path to them, depth first, at most `limit` of them and four levels down. */
function* leaves(value, path, depth, budget) {
  if (budget.left <= 0) return;
  if (value === null || typeof value !== "object") {
    budget.left -= 1;
    yield [path, String(value)];
    return;
  }
  const entries = Array.isArray(value) ? value.map((item, index) => [`[${index}]`, item]) : Object.entries(value);
  if (depth === 0 || entries.length === 0) {
    budget.left -= 1;
    yield [path, Array.isArray(value) ? `${entries.length} items` : `${entries.length} fields`];
    return;
  }
  for (const [key, item] of entries) {
    yield* leaves(item, key.startsWith("[") || path === "" ? path + key : `${path}.${key}`, depth - 1, budget);
  }
}

export function formatGeneric(payload, style) {
  const say = (text, length = 120) => escape(clip(text, length), style.dialect);
  const fields = payload !== null && typeof payload === "object" && !Array.isArray(payload) ? payload : { value: payload };
  const key = TITLES.find((name) => typeof fields[name] === "string" && fields[name].trim() !== "");
  const level = String(fields.severity ?? fields.level ?? fields.status ?? "").toLowerCase();
  const rest = Object.fromEntries(Object.entries(fields).filter(([name]) => name !== key));
  const lines = [...leaves(rest, "", 4, { left: style.items })]
    .filter(([path]) => path !== "")
    .map(([path, value]) => `• ${bold(say(path, 60), style.dialect)}: ${say(value, style.quote)}`);
  return {
    severity: Object.hasOwn(SEVERITIES, level) ? SEVERITIES[level] : "info",
    title: key ? say(fields[key], 200) : "A webhook arrived",
    body: lines.join("\n"),
    url: fields.url,
  };
}
