// Requests through the platform's http service, in two shapes: `context.services.http` and the web's `fetch`.
import { call } from "./settle.js";

const ENCODER = new TextEncoder();

function toBase64(bytes) {
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(text);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function bytesOf(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : undefined;
}

// The body as the wire takes it: text as it is, bytes as Base64.
function bodyOptions(body) {
  if (body === undefined || body === null) return {};
  const bytes = bytesOf(body);
  return bytes === undefined ? { body: String(body) } : { bodyBase64: toBase64(bytes) };
}

// All of these are windows-1252 to the web (WHATWG Encoding); everything else is read as UTF-8.
const WESTERN = /^(iso-?8859-1|latin-?1|us-ascii|ascii|windows-1252|cp1252)$/i;
const WESTERN_80 = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

function western(base64) {
  return atob(base64).replace(/[\x80-\x9f]/g, (character) => WESTERN_80[character.charCodeAt(0) - 0x80]);
}

class Content {
  #text;
  #bytes;
  #type;

  constructor(document) {
    this.#text = document.body;
    this.#bytes = document.bodyBase64;
    this.#type = document.headers?.["content-type"] ?? "";
  }

  text() {
    if (this.#text === undefined) {
      const charset = /charset="?([^\s";]+)/i.exec(this.#type)?.[1] ?? "utf-8";
      this.#text = WESTERN.test(charset) ? western(this.#bytes) : new TextDecoder().decode(fromBase64(this.#bytes));
    }
    return this.#text.replace(/^\uFEFF/, "");
  }

  bytes() {
    return this.#bytes === undefined ? ENCODER.encode(this.#text) : fromBase64(this.#bytes);
  }
}

class HttpResponse {
  #content;

  constructor(document) {
    this.status = document.status;
    this.ok = document.status >= 200 && document.status < 300;
    this.headers = document.headers ?? {};
    this.url = document.url ?? "";
    this.#content = new Content(document);
  }

  text() {
    return this.#content.text();
  }

  json() {
    return JSON.parse(this.#content.text());
  }

  bytes() {
    return this.#content.bytes();
  }
}

function send(method, url, options) {
  return call("http", "request", { method: String(method).toUpperCase(), url: String(url), options });
}

async function request(method, url, options = {}) {
  const { body, ...rest } = options;
  return new HttpResponse(await send(method, url, { ...rest, ...bodyOptions(body) }));
}

export const http = Object.freeze({
  request,
  get: (url, options) => request("GET", url, options),
  post: (url, options) => request("POST", url, options),
  put: (url, options) => request("PUT", url, options),
  delete: (url, options) => request("DELETE", url, options),
});

// --- the web's shape ---

class WebHeaders {
  #fields = new Map();

  constructor(init) {
    if (init === undefined || init === null) return;
    const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
    for (const [name, value] of pairs) this.append(name, value);
  }

  append(name, value) {
    const before = this.get(name);
    this.set(name, before === null ? value : `${before}, ${value}`);
  }

  set(name, value) {
    this.#fields.set(String(name).toLowerCase(), String(value).trim());
  }

  get(name) {
    return this.#fields.get(String(name).toLowerCase()) ?? null;
  }

  has(name) {
    return this.#fields.has(String(name).toLowerCase());
  }

  delete(name) {
    this.#fields.delete(String(name).toLowerCase());
  }

  forEach(callback, self) {
    for (const [name, value] of this) callback.call(self, value, name, this);
  }

  keys() {
    return this.#sorted().map(([name]) => name).values();
  }

  values() {
    return this.#sorted().map(([, value]) => value).values();
  }

  entries() {
    return this.#sorted().values();
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  #sorted() {
    return [...this.#fields].sort(([one], [other]) => (one < other ? -1 : 1));
  }
}

class WebResponse {
  #content;
  #used = false;

  constructor(document) {
    this.status = document.status;
    this.statusText = document.statusText ?? "";
    this.ok = document.status >= 200 && document.status < 300;
    this.headers = new WebHeaders(document.headers);
    this.url = document.url ?? "";
    this.redirected = document.redirected ?? false;
    this.type = "basic";
    this.#content = new Content(document);
  }

  get bodyUsed() {
    return this.#used;
  }

  #take() {
    if (this.#used) throw new TypeError("the body has been read already");
    this.#used = true;
    return this.#content;
  }

  async text() {
    return this.#take().text();
  }

  async json() {
    return JSON.parse(this.#take().text());
  }

  async bytes() {
    return this.#take().bytes();
  }

  async arrayBuffer() {
    return this.#take().bytes().buffer;
  }
}

// What the Fetch standard has a client set itself; a plugin that names them anyway means no harm by it.
const FORBIDDEN = /^(accept-encoding|connection|content-length|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade|via|proxy-.*)$/;

export async function fetch(resource, options = {}) {
  const headers = new WebHeaders(options.headers);
  const body = options.body;
  if (body instanceof URLSearchParams && !headers.has("content-type")) {
    headers.set("content-type", "application/x-www-form-urlencoded;charset=UTF-8");
  }
  const kept = Object.fromEntries([...headers].filter(([name]) => !FORBIDDEN.test(name)));
  const redirect = options.redirect === undefined ? {} : { redirect: options.redirect };
  try {
    return new WebResponse(
      await send(options.method ?? "GET", resource?.url ?? resource, { headers: kept, ...redirect, ...bodyOptions(body) }),
    );
  } catch (error) {
    if (error.code === "permission_denied") throw error;
    // A fetch that fails rejects with a TypeError; the platform's own words and code stay on it.
    throw Object.assign(new TypeError(error.message, { cause: error }), { code: error.code });
  }
}

export { WebHeaders };
