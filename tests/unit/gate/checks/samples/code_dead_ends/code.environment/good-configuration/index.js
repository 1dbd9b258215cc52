export const f = (input, context) => context.configuration.home;
