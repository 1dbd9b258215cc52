// Bundles the guest and makes it a WebAssembly component: node build.mjs WIT_FILE OUTPUT
import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";
import { build } from "esbuild";

const [witPath, output] = process.argv.slice(2);
const bundled = await build({
  entryPoints: ["guest.js"],
  bundle: true,
  write: false,
  format: "esm",
  platform: "neutral",
  mainFields: ["module", "main"],
  external: ["plugyard:*"],
  // Libraries written for Node find what they expect of `process` and `global`; nothing of it becomes a global.
  inject: ["node/process.js"],
});
const { component } = await componentize(bundled.outputFiles[0].text, {
  witPath,
  worldName: "plugin",
  // A guest without these imports nothing of wasi:http; its way out is the platform's http service alone.
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(output, component);
