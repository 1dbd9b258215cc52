export function badge(input) {
  const width = 40 + input.label.length * 7;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="20"><rect width="${width}" height="20" fill="#2f6feb"/></svg>`;
}
