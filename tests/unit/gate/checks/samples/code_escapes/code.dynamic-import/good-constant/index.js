export const f = () => import("./part.js");
