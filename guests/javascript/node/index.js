// The modules of Node that a plugin may import: those that compute. `modules.json` beside the guests names them for the
// docs; a test compares. What Node's own files keep as one object is one object here too, whatever name it has.
import assert from "assert/build/assert.js";
import * as buffer from "buffer/index.js";
import events from "events/events.js";
import path from "path-browserify";
import querystring from "querystring-es3";
import string_decoder from "string_decoder/lib/string_decoder.js";
import url from "url/url.js";
import util from "util/util.js";
import crypto from "./crypto.js";

const timers = {
  setTimeout: (...given) => globalThis.setTimeout(...given),
  setInterval: (...given) => globalThis.setInterval(...given),
  setImmediate: (callback, ...given) => globalThis.setTimeout(callback, 0, ...given),
  clearTimeout: (id) => globalThis.clearTimeout(id),
  clearInterval: (id) => globalThis.clearInterval(id),
  clearImmediate: (id) => globalThis.clearTimeout(id),
};
const later = {
  setTimeout: (delay, value) => new Promise((done) => globalThis.setTimeout(done, delay, value)),
  setImmediate: (value) => new Promise((done) => globalThis.setTimeout(done, 0, value)),
};
const types = { ...util.types };
const { Buffer, SlowBuffer, kMaxLength, INSPECT_MAX_BYTES } = buffer;
const binary = {
  Buffer, SlowBuffer, kMaxLength, INSPECT_MAX_BYTES, constants: { MAX_LENGTH: kMaxLength },
  atob: globalThis.atob, btoa: globalThis.btoa, Blob: globalThis.Blob, File: globalThis.File,
};

Object.assign(util, { TextEncoder: globalThis.TextEncoder, TextDecoder: globalThis.TextDecoder });
if (assert.strict === undefined) assert.strict = assert;
globalThis.Buffer = Buffer;

const modules = {
  assert,
  "assert/strict": assert.strict,
  buffer: binary,
  crypto,
  events,
  path,
  "path/posix": path.posix ?? path,
  querystring,
  string_decoder,
  timers: { ...timers, promises: later },
  "timers/promises": later,
  url: {
    ...url,
    URL: globalThis.URL,
    URLSearchParams: globalThis.URLSearchParams,
  },
  util,
  "util/types": types,
};

export const nodeModules = new Map(Object.entries(modules));
