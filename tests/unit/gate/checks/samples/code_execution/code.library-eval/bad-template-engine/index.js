import { compile } from "./vendor/engine.js";
export const f = (input) => compile("x")(input);
