export const f = () => 1; /* ⁦ <- found */
