export const f = () => import(["f", "s"].join("")); // <- found
