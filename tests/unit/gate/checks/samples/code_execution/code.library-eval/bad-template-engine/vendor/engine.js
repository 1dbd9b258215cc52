export function compile(text) {
  return new Function("data", "return " + text); // <- found
}
