// The package's files as modules: TypeScript and ES modules become CommonJS, `require` finds files of the package and the
// modules of Node that are offered. That others are refused is help for authors and a policy of operators, no boundary.
import { transform } from "sucrase";
import { parse } from "sucrase/dist/esm/parser/index.js";
import { TokenType } from "sucrase/dist/esm/parser/tokenizer/types.js";
import { Failure, HEAD, authorsFiles } from "./failures.js";
import list from "./modules.json";
import { nodeModules } from "./node/index.js";
import { changedLines, installPlaces } from "./places.js";

let files = {};
let prepared = new Set();
let denied = new Map();
let needed = null;
const loaded = new Map();

const SUFFIXES = ["", ".ts", ".js", ".mts", ".mjs", ".cts", ".cjs", ".tsx", ".jsx", ".json", "/index.ts", "/index.js"];
// TypeScript lets an import name the file that a compiler would have written.
const WRITTEN = { ".js": [".ts", ".tsx"], ".mjs": [".mts"], ".cjs": [".cts"], ".jsx": [".tsx"] };

// `policy` may have the names that are `denied` here and `deniedByTenant`, and those that the manifest calls `needed`.
export function install(source, done = [], authors = {}, policy = {}) {
  files = Object.assign(Object.create(null), source);
  prepared = new Set(done);
  denied = new Map([
    ...(policy.deniedByTenant ?? []).map((name) => [bare(name), "this tenant does not allow it"]),
    ...(policy.denied ?? []).map((name) => [bare(name), "the operator of this service does not allow it"]),
  ]);
  needed = policy.needed?.map(bare) ?? null;
  installPlaces(authors, files);
  loaded.clear();
  authorsFiles.clear();
  for (const path of Object.keys(files)) authorsFiles.add(path);
}

export function requireEntry(path) {
  if (!(path in files)) throw new Failure("load_failed", `the package has no file ${path}`);
  return run(path);
}

function requireFrom(importer, name) {
  if (typeof name !== "string") throw new TypeError("require needs a string");
  if (!name.startsWith("./") && !name.startsWith("../") && name !== "." && name !== "..") {
    return platformModule(importer, name);
  }
  const path = resolve(join(importer, name));
  if (path === undefined) throw new Failure("load_failed", `${importer} imports "${name}", and the package has no such file`);
  return run(path);
}

const bare = (name) => String(name).replace(/^node:/, "");

function platformModule(importer, name) {
  const plain = bare(name);
  const ruling = denied.get(plain) ?? denied.get(plain.split("/")[0]);
  if (ruling !== undefined) throw refusal(importer, name, `${ruling}; do without it, or ask the operator`);
  if (nodeModules.has(plain)) {
    if (isNeeded(plain)) return nodeModules.get(plain);
    throw refusal(importer, name, `security.modules in plugin.json does not name it; add "${name}" there, or do without it`);
  }
  const reason = list.javascript.refused[plain] ?? list.javascript.refused[plain.split("/")[0]];
  if (reason !== undefined) throw refusal(importer, name, list.reasons[reason]);
  const why = name.startsWith("node:") ? `of Node's modules there are ${list.javascript.allowed.join(", ")}`
    : "it is not in the package; bundle what you need from npm into the package, and import files by relative paths";
  throw refusal(importer, name, why);
}

// Whether the manifest names the module, or what it lies in; without a list it needs all.
function isNeeded(plain) {
  return needed === null || needed.some((name) => plain === name || plain.startsWith(`${name}/`));
}

function refusal(importer, name, why) {
  return new Failure("module_refused", `${importer} imports "${name}", which is not offered to plugins: ${why}`);
}

function join(importer, name) {
  const parts = importer.split("/").slice(0, -1);
  for (const part of name.split("/")) {
    if (part === "..") {
      if (parts.length === 0) throw new Failure("load_failed", `${importer} imports "${name}", which lies outside the package`);
      parts.pop();
    } else if (part !== "." && part !== "") {
      parts.push(part);
    }
  }
  return parts.join("/");
}

function resolve(path) {
  for (const suffix of SUFFIXES) {
    if (path + suffix in files) return path + suffix;
  }
  for (const [written, sources] of Object.entries(WRITTEN)) {
    if (!path.endsWith(written)) continue;
    for (const source of sources) {
      const candidate = path.slice(0, -written.length) + source;
      if (candidate in files) return candidate;
    }
  }
  return undefined;
}

function run(path) {
  const before = loaded.get(path);
  if (before !== undefined) return before.exports;
  const module = { exports: {}, id: path };
  loaded.set(path, module);
  try {
    if (path.endsWith(".json")) module.exports = JSON.parse(files[path]);
    else compile(path)(module.exports, (name) => requireFrom(path, name), module, path);
  } catch (error) {
    loaded.delete(path);
    throw error;
  }
  return module.exports;
}

function transformed(path, text) {
  const transforms = ["imports"];
  if (/\.[mc]?tsx?$/.test(path)) transforms.push("typescript");
  if (/\.[jt]sx$/.test(path)) transforms.push("jsx");
  refuseDecorators(text, transforms);
  return transform(text, { transforms, filePath: path, production: true }).code;
}

// The transform would leave them out without a word.
function refuseDecorators(text, transforms) {
  if (!/@[A-Za-z_$(\u00aa-\uffff]/.test(text)) return;
  const { tokens } = parse(text, transforms.includes("jsx"), transforms.includes("typescript"), false);
  const at = tokens.find((token) => token.type === TokenType.at);
  if (at === undefined) return;
  const lines = text.slice(0, at.start).split("\n");
  const error = new SyntaxError("decorators are not offered here");
  error.loc = { line: lines.length, column: lines.at(-1).length + 1 };
  throw error;
}

// The files with every module that can be transformed in its final form; what cannot is left for whoever imports it to
// find.
export function prepareFiles(source) {
  const result = { ...source };
  const done = [];
  const authors = {};
  for (const [path, text] of Object.entries(source)) {
    if (!/\.([mc]?[jt]s|[jt]sx)$/.test(path)) continue;
    try {
      result[path] = transformed(path, text);
      authors[path] = changedLines(text, result[path]);
      done.push(path);
    } catch {
      continue;
    }
  }
  return { files: result, prepared: done, authors };
}

function compile(path) {
  let code;
  try {
    code = prepared.has(path) ? files[path] : transformed(path, files[path]);
  } catch (error) {
    const place = error.loc ? `:${error.loc.line}:${error.loc.column}` : "";
    const words = String(error.message).replace(`Error transforming ${path}: `, "").replace(/ \(\d+:\d+\)$/, "");
    throw new SyntaxFailure(path, place, words);
  }
  // One line holds the wrapper's head and the first line of the file, so that line numbers stay the author's.
  return (0, eval)(`${HEAD}${code}\n})\n//# sourceURL=${path}`);
}

class SyntaxFailure extends Failure {
  constructor(path, place, words) {
    super("load_failed", `SyntaxError: ${words} at ${path}${place}`);
  }
}
