export function f() {
  setTimeout("glob" + "alThis.x = 1", 5); // <- found
}
