// The second argument of every handler: who calls, with which settings, and the platform's services.
import { log as keep } from "plugyard:plugin/host@1.0.0";
import { http } from "./http.js";
import { call } from "./settle.js";

export function log(level, message, fields) {
  let text = "{}";
  if (fields !== undefined && fields !== null) {
    // What is no JSON is shown rather than refused: a log line must never be what makes a plugin fail.
    try {
      text = JSON.stringify(typeof fields === "object" && !Array.isArray(fields) ? fields : { value: fields }) ?? "{}";
    } catch {
      text = JSON.stringify({ value: String(fields) });
    }
  }
  keep(level, String(message).toWellFormed(), text);
}

const said = Promise.resolve();

const logger = Object.freeze({
  debug: (message, fields) => (log("debug", message, fields), said),
  info: (message, fields) => (log("info", message, fields), said),
  warn: (message, fields) => (log("warning", message, fields), said),
  error: (message, fields) => (log("error", message, fields), said),
});

// The two methods that run a statement, inside of a transaction or outside of any.
const statements = (transaction) => ({
  query: (sql, parameters = []) => call("database", "query", { sql, parameters, transaction }),
  execute: (sql, parameters = []) => call("database", "execute", { sql, parameters, transaction }),
});

async function transaction(work) {
  if (typeof work !== "function") return call("database", "transaction", { statements: work });
  const begun = await call("database", "begin", {});
  let result;
  try {
    result = await work(Object.freeze(statements(begun.transaction)));
  } catch (error) {
    // The author's error is the one to tell, whatever becomes of the rollback.
    await call("database", "rollback", begun).catch(() => {});
    throw error;
  }
  await call("database", "commit", begun);
  return result;
}

const database = Object.freeze({ ...statements(), transaction });

const cache = Object.freeze({
  get: (key) => call("cache", "get", { key }),
  set: async (key, value, options = {}) => void (await call("cache", "set", { key, value, ...options })),
  delete: (key) => call("cache", "delete", { key }),
  increment: (key, by = 1, options = {}) => call("cache", "increment", { key, by, ...options }),
});

const events = Object.freeze({
  publish: async (topic, payload) => void (await call("events", "publish", { topic, payload })),
  subscribe: async (topic, handler) => void (await call("events", "subscribe", { topic, handler })),
});

const files = Object.freeze({
  read: (path, options = {}) => call("files", "read", { path, ...options }),
  write: async (path, content, options = {}) => void (await call("files", "write", { path, content, ...options })),
  list: (prefix = "") => call("files", "list", { prefix }),
  delete: (path) => call("files", "delete", { path }),
});

const services = Object.freeze({ logger, database, cache, http, events, files });

export function contextOf(document) {
  return { ...document, services };
}
