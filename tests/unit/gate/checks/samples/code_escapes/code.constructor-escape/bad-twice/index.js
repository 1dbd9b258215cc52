export const f = () => [].constructor.constructor("return this")(); // <- found
