// Runs functions of a JavaScript or TypeScript example outside of the sandbox: calls come as JSON on stdin, outcomes go
// to stdout. Called by conftest.py beside it.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [entry] = process.argv.slice(2);
const plugin = await import(pathToFileURL(entry).href);
const outcomes = [];
for (const { function: name, input, configuration } of JSON.parse(readFileSync(0, "utf8"))) {
  const logs = [];
  const log = (level) => async (message, fields = {}) => void logs.push({ level, message, fields });
  const logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
  const context = { tenantId: "acme", userId: "ada", executionId: "e1", configuration, trace: {}, services: { logger } };
  try {
    outcomes.push({ output: (await plugin[name](input, context)) ?? null, logs });
  } catch (error) {
    outcomes.push({ error: error.message, logs });
  }
}
process.stdout.write(JSON.stringify(outcomes));
