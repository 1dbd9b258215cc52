export const f = (input, context) => context.services.files.read("x.txt");
