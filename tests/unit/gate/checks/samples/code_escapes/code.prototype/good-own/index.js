function Point(x) { this.x = x; }
Point.prototype.move = function (by) { return new Point(this.x + by); };
export const f = (input) => Object.prototype.hasOwnProperty.call(new Point(1).move(input), "x");
