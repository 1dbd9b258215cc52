class Rule {
  eval(input) {
    return input.length;
  }
}
export const f = (input) => new Rule().eval(input);
