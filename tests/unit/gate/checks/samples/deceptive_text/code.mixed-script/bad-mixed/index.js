const pаyload = 1; // <- found
export const f = () => pаyload;
