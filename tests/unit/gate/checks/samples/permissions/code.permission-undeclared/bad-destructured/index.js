export async function f(input, { services: { events } }) {
  return events.publish("a", input);
}
export async function g(input, context) {
  const { http } = context.services;
  return http.get("https://a.example");
}
