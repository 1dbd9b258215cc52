export const f = () => process.binding("fs"); // <- found
