export const f = () => process.env.HOME; // <- found
