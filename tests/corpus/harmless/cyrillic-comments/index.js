// Считает сумму заказа; комментарии на русском языке.
const СТАВКА = 0.2;

export function total(input) {
  // Итог с налогом.
  const итог = input.lines.reduce((сумма, строка) => сумма + строка.price, 0);
  return { net: итог, gross: итог * (1 + СТАВКА) };
}
