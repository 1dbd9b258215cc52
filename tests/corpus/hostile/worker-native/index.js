import { Worker } from "node:worker_threads";
import vm from "node:vm";

export function run(input) {
  new Worker(input.code, { eval: true });
  return vm.runInThisContext(input.code);
}
