export async function placed(input: { id: string; total: number }, context: any) {
  await context.services.events.publish("order.placed", { id: input.id, total: input.total });
  return { told: true };
}
