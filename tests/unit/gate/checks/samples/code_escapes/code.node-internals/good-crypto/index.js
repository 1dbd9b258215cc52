export const f = () => crypto.randomUUID();
