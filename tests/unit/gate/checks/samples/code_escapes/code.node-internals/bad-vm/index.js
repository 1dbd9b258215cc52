import vm from "vm"; // <- found
export const f = () => typeof vm;
