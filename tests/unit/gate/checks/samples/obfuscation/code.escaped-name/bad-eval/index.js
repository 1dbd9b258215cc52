export const f = (input) => glob\u0061lThis[input]; // <- found
