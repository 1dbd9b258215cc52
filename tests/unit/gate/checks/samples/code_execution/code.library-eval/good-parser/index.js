import { parse } from "./vendor/parser.js";
export const f = (input) => parse(input);
