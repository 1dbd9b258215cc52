const { spawn: start } = await import("node:child_process"); // <- found
export const f = () => start("id"); // <- found
