export const f = (input, context) => context.services.logger.info("x");
