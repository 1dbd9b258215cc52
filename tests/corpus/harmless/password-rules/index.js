const RULES = [
  { id: "length", test: (password) => password.length >= 12, text: "The password has at least 12 characters." },
  { id: "digit", test: (password) => /\d/.test(password), text: "The password holds a digit." },
  { id: "common", test: (password) => !["password", "letmein", "qwerty123456"].includes(password), text: "Not a common one." },
];

export function judge({ password }) {
  const broken = RULES.filter((rule) => !rule.test(password));
  return { accepted: broken.length === 0, broken: broken.map((rule) => rule.text) };
}
