export const f = () => 1;
function home() {}
