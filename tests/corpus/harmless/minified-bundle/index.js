import { parse, format } from "./vendor/tiny-dates.min.js";

export function reformat(input) {
  return format(parse(input.date), input.pattern);
}
