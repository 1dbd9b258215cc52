// Where a place in transformed code lies in the author's text. The transform keeps every line where it was, and moves
// columns; so a map is the author's own text of the lines that changed, and a place is found when it is asked for, by
// aligning the tokens of both. (The source maps that sucrase can write lose their way behind class fields.)
const TOKEN = /[A-Za-z_$#\u00aa-\uffff][\w$\u00aa-\uffff]*|\d[\w.]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\S/g;
// Longer lines are a minifier's, and nobody wrote their columns.
const MOST_PAIRS = 4_000_000;

let written = Object.create(null);
let running = Object.create(null);

export function installPlaces(authors, files) {
  written = Object.assign(Object.create(null), authors);
  running = files;
}

// The author's text of the lines that are different now, by their number from 1.
export function changedLines(before, after) {
  const now = after.split("\n");
  const changed = {};
  before.split("\n").forEach((line, at) => {
    if (line !== now[at] && line.trim() !== "") changed[at + 1] = line;
  });
  return changed;
}

// The author's column, from 1, of a column of transformed code.
export function authorsColumn(file, line, column) {
  const before = written[file]?.[line];
  if (before === undefined) return column;
  const [theirs, ours] = [tokens(before), tokens(running[file].split("\n")[line - 1])];
  if (theirs.length * ours.length > MOST_PAIRS) return column;
  const partners = align(ours, theirs);
  let found;
  for (let at = 0; at < ours.length && ours[at].index < column; at++) {
    if (partners[at] !== undefined) found = [ours[at], theirs[partners[at]]];
  }
  if (found === undefined) return 1;
  const [own, author] = found;
  const inside = column - 1 - own.index;
  return author.index + 1 + (inside < own.text.length ? inside : 0);
}

function tokens(line) {
  return [...line.matchAll(TOKEN)].map((match) => ({ text: match[0], index: match.index }));
}

// For each token of `left` the number of its partner in `right`, in a longest common subsequence.
function align(left, right) {
  const width = right.length + 1;
  const lengths = new Uint32Array((left.length + 1) * width);
  for (let a = left.length - 1; a >= 0; a--) {
    for (let b = right.length - 1; b >= 0; b--) {
      const here = a * width + b;
      lengths[here] = left[a].text === right[b].text
        ? lengths[here + width + 1] + 1
        : Math.max(lengths[here + width], lengths[here + 1]);
    }
  }
  const partners = [];
  for (let a = 0, b = 0; a < left.length && b < right.length; ) {
    const here = a * width + b;
    if (left[a].text === right[b].text) partners[a++] = b++;
    else if (lengths[here + width] >= lengths[here + 1]) a++;
    else b++;
  }
  return partners;
}
