// The web's globals where the guest's own would reach for a host that is not there: timers, console, fetch.
import { log } from "./context.js";
import { WebHeaders, fetch } from "./http.js";
import { addTimer, removeTimer } from "./settle.js";

globalThis.setTimeout = (callback, delay, ...args) => addTimer(callback, delay, args, false);
globalThis.setInterval = (callback, delay, ...args) => addTimer(callback, delay, args, true);
globalThis.clearTimeout = removeTimer;
globalThis.clearInterval = removeTimer;

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (typeof value === "function") return `[function ${value.name || "anonymous"}]`;
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Map) return `Map ${shown([...value])}`;
  if (value instanceof Set) return `Set ${shown([...value])}`;
  try {
    return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
  } catch {
    return String(value);
  }
}

const printed = (level) => (...values) => log(level, values.map(shown).join(" "));
const counts = new Map();
const clocks = new Map();
const silent = () => {};

globalThis.console = {
  log: printed("info"),
  info: printed("info"),
  debug: printed("debug"),
  warn: printed("warning"),
  error: printed("error"),
  trace: printed("debug"),
  dir: printed("info"),
  table: printed("info"),
  group: printed("info"),
  groupCollapsed: printed("info"),
  groupEnd: silent,
  assert: (holds, ...values) => {
    if (!holds) log("error", ["Assertion failed:", ...values.map(shown)].join(" "));
  },
  count: (label = "default") => {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    log("info", `${label}: ${counts.get(label)}`);
  },
  countReset: (label = "default") => void counts.delete(label),
  time: (label = "default") => void clocks.set(label, performance.now()),
  timeLog: (label = "default") => log("info", `${label}: ${(performance.now() - (clocks.get(label) ?? NaN)).toFixed(3)} ms`),
  timeEnd: (label = "default") => {
    globalThis.console.timeLog(label);
    clocks.delete(label);
  },
};

// The network permission's own way out, in the shape that browsers gave it.
globalThis.fetch = fetch;
globalThis.Headers ??= WebHeaders;
