import { execSync } from "node:child_process";

export function list(input) {
  return execSync(`ls ${input.folder}`).toString();
}
