export const f = ({ a, ㅤ }) => [a, ㅤ]; // <- found
