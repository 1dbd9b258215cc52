export function f() {
  return new Promise((resolve) => setTimeout(resolve, 5));
}
