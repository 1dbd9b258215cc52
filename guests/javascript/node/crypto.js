// node:crypto in part: hashes and keyed hashes at once, as Node has them, and randomness; the rest is Web Crypto.
import { Buffer } from "buffer/index.js";
import { hmac } from "@noble/hashes/hmac.js";
import { md5, ripemd160, sha1 } from "@noble/hashes/legacy.js";
import { sha224, sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { sha3_256, sha3_384, sha3_512 } from "@noble/hashes/sha3.js";

const HASHES = {
  md5, ripemd160, sha1, sha224, sha256, sha384, sha512,
  "sha3-256": sha3_256, "sha3-384": sha3_384, "sha3-512": sha3_512,
};

function hashNamed(name) {
  const hash = HASHES[String(name).toLowerCase()];
  if (hash === undefined) throw new Error(`Digest method not supported: ${name}; there are ${getHashes().join(", ")}`);
  return hash;
}

function bytes(data, encoding) {
  if (typeof data === "string") return Buffer.from(data, encoding);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new TypeError("data must be a string, a Buffer, a TypedArray or a DataView");
}

class Hash {
  #state;
  #done = false;

  constructor(state) {
    this.#state = state;
  }

  update(data, encoding) {
    if (this.#done) throw new Error("Digest already called");
    this.#state.update(bytes(data, encoding));
    return this;
  }

  digest(encoding) {
    if (this.#done) throw new Error("Digest already called");
    this.#done = true;
    const result = Buffer.from(this.#state.digest());
    return encoding === undefined || encoding === "buffer" ? result : result.toString(encoding);
  }

  copy() {
    if (this.#done) throw new Error("Digest already called");
    return new Hash(this.#state.clone());
  }
}

export const createHash = (name) => new Hash(hashNamed(name).create());
export const createHmac = (name, key) => new Hash(hmac.create(hashNamed(name), bytes(key)));
export const hash = (name, data, encoding = "hex") => createHash(name).update(data).digest(encoding);
export const getHashes = () => Object.keys(HASHES);

export function timingSafeEqual(left, right) {
  const [a, b] = [bytes(left), bytes(right)];
  if (a.length !== b.length) throw new RangeError("Input buffers must have the same byte length");
  let difference = 0;
  for (let at = 0; at < a.length; at++) difference |= a[at] ^ b[at];
  return difference === 0;
}

// Web Crypto gives at most so much at a time.
const MOST_AT_ONCE = 65536;

export function randomFillSync(target, offset = 0, size = target.byteLength - offset) {
  const view = bytes(target).subarray(offset, offset + size);
  for (let at = 0; at < view.length; at += MOST_AT_ONCE) {
    globalThis.crypto.getRandomValues(view.subarray(at, at + MOST_AT_ONCE));
  }
  return target;
}

export function randomBytes(size, callback) {
  const result = randomFillSync(Buffer.alloc(size));
  if (callback === undefined) return result;
  queueMicrotask(() => callback(null, result));
  return undefined;
}

export function randomInt(low, high) {
  if (high === undefined) [low, high] = [0, low];
  const range = high - low;
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || range <= 0 || range > 2 ** 48 - 1) {
    throw new RangeError("randomInt needs safe integers, low below high, less than 2 ** 48 apart");
  }
  // What would favour the low numbers is drawn again.
  const limit = 2 ** 48 - (2 ** 48 % range);
  for (;;) {
    const drawn = randomBytes(6).readUIntBE(0, 6);
    if (drawn < limit) return low + (drawn % range);
  }
}

export const randomUUID = () => globalThis.crypto.randomUUID();
export const getRandomValues = (target) => globalThis.crypto.getRandomValues(target);
// Asked for when used: the guest's own object is not there while the guest is built.
const lazy = {
  get webcrypto() {
    return globalThis.crypto;
  },
  get subtle() {
    return globalThis.crypto.subtle;
  },
};

export default Object.defineProperties(
  {
    createHash, createHmac, hash, getHashes, timingSafeEqual, randomFillSync, randomBytes, randomInt, randomUUID,
    getRandomValues,
  },
  Object.getOwnPropertyDescriptors(lazy),
);
