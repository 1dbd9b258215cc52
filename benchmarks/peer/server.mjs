// The classic alternative: Node with Fastify, a V8 isolate for the plugin, one insert for each call. No authentication, no
// process around the isolate. `warm` keeps one isolate; `fresh` makes one for every call. Started by benchmarks/compare.py.
import Fastify from "fastify";
import ivm from "isolated-vm";
import pg from "pg";

const CODE = "const add = (input) => input.a + input.b; (text) => JSON.stringify(add(JSON.parse(text)))";
const pool = new pg.Pool({ connectionString: process.env.PEER_DATABASE_URL, max: 20 });
pool.on("error", () => {}); // PostgreSQL ends at the end of the comparison
await pool.query("create table if not exists peer_executions (id bigserial primary key, mode text, output jsonb, at timestamptz default now())");

async function loaded() {
  const isolate = new ivm.Isolate({ memoryLimit: 128 });
  const context = await isolate.createContext();
  const run = await context.eval(CODE, { reference: true });
  return { isolate, run };
}

const warm = await loaded();
const app = Fastify();
const call = (run, input) =>
  run.apply(undefined, [JSON.stringify(input)], { timeout: 1000, arguments: { copy: true }, result: { copy: true } });
const record = (mode, output) => pool.query("insert into peer_executions (mode, output) values ($1, $2)", [mode, output]);

app.post("/warm", async (request) => {
  const output = await call(warm.run, request.body.input);
  await record("warm", output);
  return { status: "succeeded", output: JSON.parse(output) };
});
app.post("/fresh", async (request) => {
  const { isolate, run } = await loaded();
  try {
    const output = await call(run, request.body.input);
    await record("fresh", output);
    return { status: "succeeded", output: JSON.parse(output) };
  } finally {
    isolate.dispose();
  }
});

await app.listen({ host: "127.0.0.1", port: Number(process.env.PEER_PORT) });
console.log("ready");
