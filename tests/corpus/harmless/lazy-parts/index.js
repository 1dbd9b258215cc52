const PARTS = { short: () => import("./parts/short.js"), long: () => import("./parts/long.js") };

export async function text(input) {
  const part = await PARTS[input.kind]();
  return part.write(input.words);
}
