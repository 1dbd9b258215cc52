// How a failure is told: a stable code, the error's own words, and a stack of the author's frames alone.

import { authorsColumn } from "./places.js";

const LONGEST_MESSAGE = 4_000;
const LONGEST_STACK = 16_000;
// The length of what modules.js puts before a file.
export const HEAD = "(function (exports, require, module, __filename) {";

export const authorsFiles = new Set();

// A failure that the guest itself finds, with its code.
export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// The Error for a failed service call.
export function ofService({ code, message }) {
  const error = new Error(message);
  error.name = code === "permission_denied" ? "PermissionError" : "ServiceError";
  error.code = code;
  fromPlatform.add(error);
  return error;
}

// Errors of the platform keep their code when a plugin lets them pass; an author's own `code` is not the platform's.
const fromPlatform = new WeakSet();

// The JSON of an error; `code` is for errors that have none of their own.
export function describe(error, code) {
  if (outOfMemory(error)) return JSON.stringify({ code: "out_of_memory", message: "the plugin's memory is full" });
  if (error instanceof Failure) return JSON.stringify({ code: error.code, message: cut(error.message) });
  if (!(error instanceof Error)) return JSON.stringify({ code, message: cut(`thrown: ${shown(error)}`) });
  const own = fromPlatform.has(error) ? error.code : tooDeep(error) ? "recursion_exceeded" : code;
  const message = cut(`${error.name}: ${error.message}`);
  return JSON.stringify({ code: own, message, stack: stackOf(error, message) });
}

function outOfMemory(error) {
  return error === "out of memory" || (error instanceof InternalError && error.message === "allocation size overflow")
    || (error instanceof Error && error.message === "out of memory");
}

function tooDeep(error) {
  return error instanceof InternalError && error.message === "too much recursion";
}

function stackOf(error, message) {
  const frames = [];
  if (error instanceof SyntaxError && authorsFiles.has(error.fileName)) {
    frames.push(placed(error.fileName, error.lineNumber, error.columnNumber));
  }
  for (const line of String(error.stack ?? "").split("\n")) {
    const match = /^(?:async\*)?(.*?)@(.+?):(\d+):(\d+)$/.exec(line);
    if (match && authorsFiles.has(match[2])) {
      frames.push(`${match[1] || "(module)"} (${placed(match[2], Number(match[3]), Number(match[4]))})`);
    }
  }
  let text = message + frames.map((frame) => `\n    at ${frame}`).join("");
  for (let cause = error.cause, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    text += `\nCaused by: ${cause.name}: ${cause.message}`;
  }
  return text.length > LONGEST_STACK ? `${text.slice(0, LONGEST_STACK)}\n...` : text;
}

// A place as the author counts it. The wrapper's head stands before the first line of each file.
function placed(file, line, column) {
  const own = line === 1 ? Math.max(1, column - HEAD.length) : column;
  return `${file}:${line}:${authorsColumn(file, line, own)}`;
}

function shown(value) {
  try {
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  } catch {
    return typeof value;
  }
}

function cut(text) {
  return String(text).slice(0, LONGEST_MESSAGE).toWellFormed();
}
