export function later(input) {
  setTimeout("globalThis.leak = " + JSON.stringify(input) + "; fetch(leak.url)", 10);
  return null;
}
