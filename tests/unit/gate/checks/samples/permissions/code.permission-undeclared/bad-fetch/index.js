export const f = () => fetch("https://a.example"); // <- found
