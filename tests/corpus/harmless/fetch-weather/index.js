export async function now(input, context) {
  const answer = await fetch(`https://weather.example.org/now?city=${encodeURIComponent(input.city)}`);
  if (!answer.ok) throw new Error(`the weather service answered ${answer.status}`);
  return await answer.json();
}
