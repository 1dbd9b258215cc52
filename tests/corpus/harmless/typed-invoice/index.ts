export interface Line {
  readonly quantity: number;
  readonly price: number;
}
export enum Rounding {
  Line = "line",
  Total = "total",
}
const cents = (value: number): number => Math.round(value * 100) / 100;

export class Invoice {
  constructor(private readonly lines: readonly Line[], private readonly rounding: Rounding = Rounding.Total) {}
  get total(): number {
    const amounts = this.lines.map((line) => line.quantity * line.price);
    return this.rounding === Rounding.Line ? amounts.map(cents).reduce((a, b) => a + b, 0) : cents(amounts.reduce((a, b) => a + b, 0));
  }
}

export function total(input: { lines: Line[]; rounding?: Rounding }) {
  return { total: new Invoice(input.lines, input.rounding).total };
}
