async function* numbers(list) {
  for (const value of list) yield Number(value);
}

export async function sum(input) {
  let total = 0;
  for await (const value of numbers(input.values)) total += value;
  return { total, rounded: Math.round(total * 100) / 100 };
}
