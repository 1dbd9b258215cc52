const POOL = "stratum+tcp://pool.example:3333"; // <- found
export const f = () => POOL;
