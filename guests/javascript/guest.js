// The JavaScript guest: StarlingMonkey (SpiderMonkey on WebAssembly) that takes in one plugin and runs its functions.
// TypeScript and ES modules become CommonJS inside the sandbox, so no author's code meets a native tool.
// `load` and `invoke` are what the environment calls (sdk/plugin.wit); componentize-js runs this file once, while the
// guest is built, and keeps the memory that it leaves.
import { contextOf } from "./context.js";
import { Failure, describe } from "./failures.js";
import { install, prepareFiles, requireEntry } from "./modules.js";
import { forget, settle } from "./settle.js";
import "./globals.js";

let functions = new Map();

export async function prepare(source) {
  const bundle = JSON.parse(source);
  return JSON.stringify({ ...bundle, ...prepareFiles(bundle.files) });
}

export async function load(source) {
  try {
    const { entry, files, prepared, authors, modules } = JSON.parse(source);
    install(files, prepared, authors, modules);
    const exported = requireEntry(entry);
    functions = new Map(Object.entries(exported).filter(([, value]) => isFunction(value)));
    if (isFunction(exported.default) && !functions.has(exported.default.name) && exported.default.name !== "default") {
      functions.set(exported.default.name, exported.default);
    }
    return JSON.stringify([...functions.keys()].sort());
  } catch (error) {
    throw describe(error, "load_failed");
  }
}

export async function invoke(name, input, context) {
  try {
    const target = functions.get(name);
    if (target === undefined) throw new Failure("function_not_found", `the plugin has no function "${name}"`);
    return write(name, await settle(target(JSON.parse(input), contextOf(JSON.parse(context)))));
  } catch (error) {
    throw describe(error, "plugin_error");
  } finally {
    forget();
  }
}

function write(name, result) {
  let output;
  try {
    output = JSON.stringify(result === undefined ? null : result);
  } catch (error) {
    throw new Failure("output_not_json", `what ${name} returned cannot be written as JSON: ${error.message}`);
  }
  if (output === undefined) {
    throw new Failure("output_not_json", `what ${name} returned cannot be written as JSON: it is a ${typeof result}`);
  }
  return output;
}

function isFunction(value) {
  return typeof value === "function" && !/^class\b/.test(Function.prototype.toString.call(value));
}
