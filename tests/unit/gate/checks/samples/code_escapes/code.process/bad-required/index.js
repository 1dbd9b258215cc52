export function f() {
  return require("child_process").execSync("id"); // <- found
}
