export async function submit(input: { order: unknown }, context: any) {
  const { http, logger } = context.services;
  for (let attempt = 1; attempt <= 3; attempt++) {
    const answer = await http.post("https://erp.acme.example.com/v2/orders", { body: JSON.stringify(input.order) });
    if (answer.status < 500) return { status: answer.status };
    logger.warn("trying again", { attempt });
    await new Promise((resolve) => setTimeout(resolve, 50 * 2 ** attempt));
  }
  return { status: 503 };
}
