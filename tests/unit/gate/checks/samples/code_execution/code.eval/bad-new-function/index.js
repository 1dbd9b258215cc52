export function f(input) {
  return new Function("a", input.body)(1); // <- found
}
