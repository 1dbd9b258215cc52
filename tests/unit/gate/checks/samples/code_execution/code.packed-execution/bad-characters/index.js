const t = [97, 98].map((c) => String.fromCharCode(c)).join("");
export const f = () => eval(t); // <- found
