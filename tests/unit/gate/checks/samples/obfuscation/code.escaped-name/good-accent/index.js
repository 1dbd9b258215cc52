const caf\u00e9 = 1;
export const f = () => caf\u00e9;
