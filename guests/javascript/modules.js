// The package's files as modules: TypeScript and ES modules become CommonJS, `require` finds files of the package only.
import { transform } from "sucrase";
import { Failure, authorsFiles } from "./failures.js";

let files = {};
let prepared = new Set();
const loaded = new Map();

const SUFFIXES = ["", ".ts", ".js", ".mts", ".mjs", ".cts", ".cjs", ".tsx", ".jsx", ".json", "/index.ts", "/index.js"];
// TypeScript lets an import name the file that a compiler would have written.
const WRITTEN = { ".js": [".ts", ".tsx"], ".mjs": [".mts"], ".cjs": [".cts"], ".jsx": [".tsx"] };

export function install(source, done = []) {
  files = Object.assign(Object.create(null), source);
  prepared = new Set(done);
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
    throw new Failure(
      "load_failed",
      `${importer} imports "${name}", which is not in the package: only relative imports of the package's own files ` +
        `exist here; bundle what you need from npm into the package`,
    );
  }
  const path = resolve(join(importer, name));
  if (path === undefined) throw new Failure("load_failed", `${importer} imports "${name}", and the package has no such file`);
  return run(path);
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
  return transform(text, { transforms, filePath: path, production: true }).code;
}

// The files with every module that can be transformed in its final form; what cannot is left for whoever imports it to
// find.
export function prepareFiles(source) {
  const result = { ...source };
  const done = [];
  for (const [path, text] of Object.entries(source)) {
    if (!/\.([mc]?[jt]s|[jt]sx)$/.test(path)) continue;
    try {
      result[path] = transformed(path, text);
      done.push(path);
    } catch {
      continue;
    }
  }
  return { files: result, prepared: done };
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
  return (0, eval)(`(function (exports, require, module, __filename) {${code}\n})\n//# sourceURL=${path}`);
}

class SyntaxFailure extends Failure {
  constructor(path, place, words) {
    super("load_failed", `SyntaxError: ${words} at ${path}${place}`);
  }
}
