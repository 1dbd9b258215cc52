type A<T> = T extends infer U ? U : never;
enum B { C = "c" }
export const f = <T,>(x: T): x is T & object => !!(x satisfies T);
