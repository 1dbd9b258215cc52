"""Code in a JavaScript guest against wall 1: how plugins left vm2, isolated contexts and n8n's expressions.

Those sandboxes shared a heap, or at least objects, with a host that could open files. Here there is no such object: the
guest's realm is the only one in its memory. An attempt returns what it got hold of.
"""

import json

import pytest

from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside.executor import Sandbox

from .hostile import run

pytestmark = pytest.mark.usefixtures("unharmed")

NOTHING = (None, False, 0, "", [], {})
HOST = "typeof process + typeof Deno + typeof Bun"

ATTEMPTS = {
    "the constructor's constructor": "return this.constructor.constructor('return process')().env;",
    "a function's caller": "return (function f() { return f.caller.constructor('return process')(); })();",
    "arguments.callee": "return (function () { return arguments.callee.caller.arguments[0]; })().process;",
    "n8n: this.process in an expression (CVE-2025-68613)": """
        return (function () { return this.process.mainModule.require('child_process').execSync('id').toString(); })();
    """,
    "n8n: this in a sloppy function": """
        const g = Function('return this')();
        return g.process?.binding('spawn_sync') ?? g.require?.('fs') ?? null;
    """,
    "vm2: prepareStackTrace and getThis (CVE-2022-36067)": """
        let found = null;
        Error.prepareStackTrace = (_, sites) => { found = sites.map((s) => s.getThis?.()).find((t) => t?.process); };
        try { null.x; } catch (error) { String(error.stack); }
        return found;
    """,
    "vm2: prepareStackTrace through a class (CVE-2023-29017)": """
        const error = new Error(); error.name = Symbol();
        const thrown = await (async () => error.stack)().catch((e) => e);
        return thrown.constructor.constructor('return process')().env;
    """,
    "vm2: a stack overflow in the host's code (CVE-2023-29199)": """
        const ask = (e) => e.constructor.constructor('return typeof process')();
        const deep = () => { try { deep(); } catch (e) { found ??= ask(e); } };
        let found; deep();
        return found === 'undefined' ? null : found;
    """,
    "vm2: a proxy as an error (CVE-2023-30547)": """
        const p = new Proxy({}, { getPrototypeOf() { throw { constructor: { constructor: Function } }; } });
        try { throw p; } catch (e) { try { e instanceof Error; } catch (x) {
          return x.constructor.constructor('return process')().env; } }
    """,
    "vm2: inspect.custom (CVE-2023-37903)": """
        const o = { [Symbol.for('nodejs.util.inspect.custom')]: (d, opts, inspect) => { globalThis.got = inspect; } };
        console.log(o); console.dir(o); console.table(o); console.log('%o', o);
        return globalThis.got ?? null;
    """,
    "vm2: a promise of another species (CVE-2023-37466)": """
        const p = (async () => {})();
        p.constructor = { [Symbol.species]: class { constructor(run) {
          run((x) => x, (e) => { globalThis.got = e.constructor.constructor('return process')(); }); } } };
        p.then(); await null;
        return globalThis.got ?? null;
    """,
    "vm2: a species of arrays over a host's array": """
        class A extends Array { static get [Symbol.species]() { return function () { return globalThis; }; } }
        return new A(1, 2).map((x) => x).process ?? null;
    """,
    "vm2: a getter on the way to JSON": """
        const toJSON = function () { return toJSON.caller?.constructor('return process')() ?? null; };
        return JSON.parse(JSON.stringify({ toJSON }));
    """,
    "isolates: a reference's own prototype": """
        const c = arguments.length ? arguments[0] : input;
        const far = Object.getPrototypeOf(Object.getPrototypeOf(async () => {}));
        return [far.constructor('return this.process ?? null')(), c?.process].filter(Boolean);
    """,
    "the host's error out of a service call": """
        const e = await context.services.cache.get('x').catch((e) => e);
        return e.constructor.constructor('return this.process ?? null')();
    """,
    "the host's error out of an import": """
        const e = await import('./nothing.js').catch((e) => e);
        return e.constructor.constructor('return this.process ?? null')();
    """,
    "the guest's own imports": "return Object.keys(await import('plugyard:plugin/host@1.0.0'));",
    "the guest's imports by require": "return Object.keys(require('plugyard:plugin/host@1.0.0'));",
    "WASI by import": "return Object.keys(await import('wasi:filesystem/preopens@0.2.3'));",
    "the loader's constructor": "return module.constructor._load('fs');",
    "the loader's tables": "return Object.keys(require.cache ?? require.extensions ?? {}).concat(require.main ?? []);",
    "a module by a path": "return require('../../../../../../etc/passwd');",
    "a module by an absolute path": "return require('/etc/passwd');",
    "a module by a file URL": "return await import('file:///etc/passwd');",
    "node's built-in modules": "return require('node:fs').readFileSync('/etc/passwd', 'utf8');",
    "process.binding": "return process.binding('fs').internalModuleReadJSON('/etc/passwd');",
    "process.dlopen": "return process.dlopen({ exports: {} }, '/lib/x86_64-linux-gnu/libc.so.6');",
    "Deno and Bun": "return (globalThis.Deno ?? globalThis.Bun).env.toObject();",
    "SpiderMonkey's shell": "return [os, read, load, snarf, evalcx].map(String);",
    "a worker": "return new Worker('data:text/javascript,postMessage(1)') && true;",
    "memory that threads share": "return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10) === 'ok';",
    "WebAssembly with imports of its own": """
        const empty = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
        return Object.keys(new WebAssembly.Instance(new WebAssembly.Module(empty), {}).exports);
    """,
    "a socket": "return new WebSocket('ws://127.0.0.1:22') && true;",
    "an old request": "const r = new XMLHttpRequest(); r.open('GET', '/', false); r.send(); return r.response;",
    "fetch of a file": "return await (await fetch('file:///etc/passwd')).text();",
    "fetch of the metadata": "return await (await fetch('http://169.254.169.254/latest/meta-data/')).text();",
    "storage": "return localStorage.getItem('x') ?? indexedDB.open('x') ?? true;",
    "what a timer runs as text": "return await new Promise((done) => { globalThis.done = done; "
    "setTimeout('done(this.process ?? null)', 1); });",
    "eval in the guest's own scope": 'return (0, eval)(\'typeof require === "function" ? require("fs") : null\');',
    "the guest's own functions through Map": """
        const get = Map.prototype.get; const seen = [];
        Map.prototype.get = function (k) { const v = get.call(this, k); seen.push(v); return v; };
        await context.services.cache.get('x').catch(() => 0);
        Map.prototype.get = get;
        return seen.map((v) => v?.resolve?.constructor('return this.process ?? null')() ?? null).filter(Boolean);
    """,
}

# What ends the guest, or the guest's own machinery, and nothing else.
SUICIDES = {
    "every object has a then": "Object.prototype.then = function () { for (;;); }; return {};",
    "promises that never settle": "Promise.prototype.then = () => {}; await 1; return await new Promise(() => {});",
    "JSON that lies": "JSON.stringify = () => '{\"ok\": true'; return 1;",
    "JSON that throws": "JSON.parse = JSON.stringify = () => { throw 1; }; return 1;",
    "a stack without end": "const f = () => f() + f(); return f();",
    "an expression without end": "return eval('('.repeat(1e6) + ')'.repeat(1e6));",
    "a pattern without end": "return /^(a+)+$/.test('a'.repeat(50) + 'b');",
    "memory without end": "let a = [1]; for (;;) a = a.concat(a);",
    "a buffer without end": "return new ArrayBuffer(2 ** 33).byteLength;",
    "an error that throws when it is told": """
        const e = new Error(); Object.defineProperty(e, 'message', { get() { throw e; } }); throw e;
    """,
}


def source(body: str) -> str:
    return f"export async function run(input, context) {{\n{body}\n}}\n"


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_javascript_gets_hold_of_nothing(sandbox: Sandbox, attempt: str) -> None:
    outcome = await run(sandbox, Runtime.JAVASCRIPT, source(ATTEMPTS[attempt]), timeout_ms=5000)
    if outcome.status is ExecutionStatus.SUCCEEDED:
        assert json.loads(outcome.output or b"null") in NOTHING
    else:
        assert outcome.status in (ExecutionStatus.FAILED, ExecutionStatus.CRASHED)
        # An attempt that does not even load would prove nothing.
        assert outcome.error is not None
        assert "SyntaxError" not in outcome.error.message


@pytest.mark.parametrize("attempt", SUICIDES)
async def test_what_ruins_the_guest_ruins_one_execution(sandbox: Sandbox, attempt: str) -> None:
    outcome = await run(sandbox, Runtime.JAVASCRIPT, source(SUICIDES[attempt]), timeout_ms=1500, memory_bytes=64 << 20)
    assert outcome.status is not ExecutionStatus.SUCCEEDED or outcome.output is not None
    if outcome.status is not ExecutionStatus.SUCCEEDED:
        assert outcome.error is not None


async def test_no_other_platform_is_there(sandbox: Sandbox) -> None:
    outcome = await run(sandbox, Runtime.JAVASCRIPT, f"export const run = () => {HOST};\n")
    assert outcome.output == b'"undefinedundefinedundefined"'
