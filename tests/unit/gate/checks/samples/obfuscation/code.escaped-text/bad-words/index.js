export const f = (input) => input["\x65\x76\x61\x6c\x28\x29"]; // <- found
