export const f = (input) => input.os.system + " subprocess";
