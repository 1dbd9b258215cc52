import "./vendor/x.min.js";
export function f() { return 1; }
