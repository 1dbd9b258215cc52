import { e } from "./other.ts";
export function a() {}
export const b = () => 1, c = async () => 2;
function dd() {}
export { dd as d, e };
export class f {}
