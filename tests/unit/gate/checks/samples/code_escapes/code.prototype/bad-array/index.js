Array.prototype.map = function () { return []; }; // <- found
export const f = () => 1;
