export function run(input) {
  const g = gl\u006fbalThis;
  return g["\x65\x76\x61\x6c"](\u0069nput.t\u0065xt);
}
