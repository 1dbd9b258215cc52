// What the libraries behind node/index.js ask of Node's `process`. Plugins do not see it.
export const process = {
  env: {},
  argv: [],
  platform: "wasi",
  version: "v20.0.0",
  versions: { node: "20.0.0" },
  noDeprecation: true,
  nextTick: (callback, ...given) => queueMicrotask(() => callback(...given)),
  cwd: () => "/",
  emitWarning: () => {},
};
export const global = globalThis;
