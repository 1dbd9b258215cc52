"""What an honest author meets: files of the package, services, logs, errors with their own file and line."""

import asyncio

import pytest

from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Runtime
from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.outside.executor import Sandbox

from .hostile import bundle, run, value

PYTHON, JAVASCRIPT = Runtime.PYTHON, Runtime.JAVASCRIPT

ADD = {
    PYTHON: "from helper import add\n"
    "async def run(input, context):\n    return add(input['a'], context.configuration['k'])\n",
    JAVASCRIPT: "import { add } from './lib/helper.js';\n"
    "export async function run(input: {a: number}, context) { return add(input.a, context.configuration.k); }\n",
}
HELPER = {
    PYTHON: {"lib/helper.py": "def add(a, b):\n    return a + b\n"},
    JAVASCRIPT: {"lib/helper.ts": "export function add(a: number, b: number): number {\n  return a + b;\n}\n"},
}


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_a_plugin_of_several_files_computes(sandbox: Sandbox, runtime: Runtime) -> None:
    outcome = await run(sandbox, runtime, ADD[runtime], files=HELPER[runtime], input={"a": 41})
    assert value(outcome) == 42
    assert outcome.status is ExecutionStatus.SUCCEEDED
    assert outcome.usage.wall_ms > 0
    assert outcome.usage.cpu_ms > 0
    assert 100_000 < outcome.usage.peak_memory_bytes < 64 << 20


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_the_second_call_is_warm_and_globals_persist(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "count = 0\ndef run(input, context):\n    global count\n    count += 1\n    return count\n",
        JAVASCRIPT: "let count = 0;\nexport const run = () => ++count;\n",
    }[runtime]
    outcomes = [await run(sandbox, runtime, source, plugin=f"count-{runtime}", fresh=False) for _ in range(3)]
    assert [value(outcome) for outcome in outcomes] == [1, 2, 3]
    assert outcomes[0].usage.start in ("spare", "cold")
    assert [outcome.usage.start for outcome in outcomes[1:]] == ["warm", "warm"]


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_fresh_isolation_starts_every_call_anew(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "seen = []\ndef run():\n    seen.append(1)\n    return len(seen)\n",
        JAVASCRIPT: "const seen = [];\nexport const run = () => seen.push(1);\n",
    }[runtime]
    assert [value(await run(sandbox, runtime, source, plugin="same")) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_two_executions_of_one_plugin_run_at_the_same_time(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "import time\ndef run():\n    time.sleep(0.4)\n    return 1\n",
        JAVASCRIPT: "export const run = () => new Promise((done) => setTimeout(() => done(1), 400));\n",
    }[runtime]
    began = asyncio.get_running_loop().time()
    outcomes = await asyncio.gather(*(run(sandbox, runtime, source, plugin="pair", fresh=False) for _ in range(2)))
    assert [value(outcome) for outcome in outcomes] == [1, 1]
    assert asyncio.get_running_loop().time() - began < 0.75


async def test_a_python_error_names_the_authors_file_line_and_text(sandbox: Sandbox) -> None:
    files = {"lib/sums.py": "def half(x):\n    raise ValueError(f'odd: {x}')\n"}
    outcome = await run(sandbox, PYTHON, "import sums\ndef run(input):\n    return sums.half(3)\n", files=files)
    assert outcome.status is ExecutionStatus.FAILED
    assert outcome.error is not None
    assert outcome.error.stack is not None
    assert (outcome.error.code, outcome.error.message) == ("plugin_error", "ValueError: odd: 3")
    assert 'File "main.py", line 3, in run\n    return sums.half(3)' in outcome.error.stack
    assert 'File "lib/sums.py", line 2, in half' in outcome.error.stack
    assert "plugyard_guest" not in outcome.error.stack


async def test_a_typescript_error_names_the_authors_file_and_line(sandbox: Sandbox) -> None:
    files = {
        "sums.ts": "interface A { x: number }\nexport function half(a: A): never {\n  throw new RangeError('odd');\n}\n"
    }
    source = "import { half } from './sums';\n\nexport async function run() {\n  await null;\n  half({ x: 3 });\n}\n"
    outcome = await run(sandbox, JAVASCRIPT, source, files=files)
    assert outcome.error is not None
    assert outcome.error.stack is not None
    assert outcome.error.message == "RangeError: odd"
    assert "half (sums.ts:3:" in outcome.error.stack
    assert "run (index.ts:5:" in outcome.error.stack
    assert outcome.error.stack.count("\n") == 2


@pytest.mark.parametrize(
    ("runtime", "source", "words"),
    [
        (PYTHON, "def run(:\n", 'File "main.py", line 1'),
        (PYTHON, "x = 1\n1 / 0\n", 'File "main.py", line 2'),
        (JAVASCRIPT, "const a = 1;\nexport const run = (;\n", "index.ts:2:"),
        (JAVASCRIPT, "import x from '../up';\nexport const run = () => x;\n", "outside the package"),
        (JAVASCRIPT, "\nnull.x;\n", "index.ts:2:"),
    ],
)
async def test_code_that_does_not_load_says_where(sandbox: Sandbox, runtime: Runtime, source: str, words: str) -> None:
    probe = await sandbox.probe(runtime, source, bundle(runtime, source))
    assert probe.error is not None
    assert probe.error.code == "load_failed"
    assert words in f"{probe.error.message}\n{probe.error.stack}"


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_a_probe_lists_the_functions(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "import json\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A: pass\ndef one(): ...\nasync def two(): ...\n"
        "def _hidden(): ...\n",
        JAVASCRIPT: "export class A {}\nexport const x = 1;\n"
        "export function one() {}\nexport const two = async () => {};\n",
    }[runtime]
    probe = await sandbox.probe(runtime, source, bundle(runtime, source))
    assert probe.error is None
    assert probe.exports == ("one", "two")


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_logs_prints_and_console_are_log_lines(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "import sys\n"
        "async def run(input, context):\n    log = context.services.logger\n    log.info('one', a=1)\n"
        "    await log.warn('two', x=object)\n    print('three')\n    print('four', file=sys.stderr)\n",
        JAVASCRIPT: "export async function run(input, context) {\n  const log = context.services.logger;\n"
        "  log.info('one', { a: 1 });\n"
        "  await log.warn('two', { x: 1 });\n  console.log('three');\n  console.warn('four');\n}\n",
    }[runtime]
    outcome = await run(sandbox, runtime, source)
    assert value(outcome) is None
    lines = [(line.level, line.message) for line in outcome.logs]
    assert lines == [("info", "one"), ("warning", "two"), ("info", "three"), ("warning", "four")]
    assert outcome.logs[0].fields == {"a": 1}
    assert outcome.logs[0].at.tzinfo is not None


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_a_service_without_a_grant_is_a_permission_error_and_a_violation(
    sandbox: Sandbox, runtime: Runtime
) -> None:
    source = {
        PYTHON: "async def run(input, context):\n    try:\n        await context.services.cache.get('a')\n"
        "    except PermissionError as error:\n        return str(error)\n",
        JAVASCRIPT: "export async function run(input, context) {\n  try { await context.services.cache.get('a'); }\n"
        "  catch (error) { return `${error.name} ${error.message}`; }\n}\n",
    }[runtime]
    outcome = await run(sandbox, runtime, source)
    assert 'permission "cache"' in value(outcome)
    assert [violation.kind for violation in outcome.violations] == ["permission_denied"]
    assert outcome.usage.service_calls == 1


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_a_granted_service_that_is_not_offered_says_so(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "import asyncio\nasync def run(input, context):\n    c = context.services.cache\n"
        "    await asyncio.gather(c.get('a'), c.get('b'))\n",
        JAVASCRIPT: "export const run = (i, c) =>\n"
        "  Promise.all([c.services.cache.get('a'), c.services.cache.get('b')]);\n",
    }[runtime]
    outcome = await run(sandbox, runtime, source, grants=(Permission(Service.CACHE),))
    assert outcome.error is not None
    assert outcome.error.code == "service_unavailable"
    assert outcome.violations == ()
    assert outcome.usage.service_calls == 2


@pytest.mark.parametrize(
    ("runtime", "source"),
    [
        (PYTHON, "def run(): return float('nan')"),
        (PYTHON, "def run(): return object()"),
        (PYTHON, "def run(): return {'x': '\\ud800'}"),
        (JAVASCRIPT, "export const run = () => 10n;"),
        (JAVASCRIPT, "export const run = () => { const a = {}; a.a = a; return a; };"),
        (JAVASCRIPT, "export const run = () => () => 1;"),
    ],
)
async def test_an_output_that_is_no_json_is_refused(sandbox: Sandbox, runtime: Runtime, source: str) -> None:
    outcome = await run(sandbox, runtime, source)
    assert outcome.status is ExecutionStatus.FAILED
    assert outcome.error is not None
    assert outcome.error.code == "output_not_json"


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
async def test_a_function_that_can_never_end_is_told_so(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "import asyncio\nasync def run(): await asyncio.get_running_loop().create_future()\n",
        JAVASCRIPT: "export const run = () => new Promise(() => {});\n",
    }[runtime]
    outcome = await run(sandbox, runtime, source)
    assert outcome.error is not None
    assert outcome.error.code == "never_settled"


async def test_an_authors_module_comes_before_the_standard_library(sandbox: Sandbox) -> None:
    source = "import statistics\ndef run(): return statistics.answer()\n"
    outcome = await run(sandbox, PYTHON, source, files={"statistics.py": "def answer(): return 42\n"})
    assert value(outcome) == 42


async def test_random_numbers_differ_between_environments(sandbox: Sandbox) -> None:
    python = "import random, uuid\ndef run(): return [random.random(), str(uuid.uuid4())]\n"
    javascript = "export const run = () => [Math.random(), crypto.randomUUID()];\n"
    for runtime, source in ((PYTHON, python), (JAVASCRIPT, javascript)):
        first, second = [value(await run(sandbox, runtime, source)) for _ in range(2)]
        assert first[0] != second[0]
        assert first[1] != second[1]


DRIFTING = """import type { A } from "./types";
import {
  half,
} from "./half";
enum Colour {
  Red = 1,
  Green,
}
interface Shape { side: number }
abstract class Base<T> {
  constructor(private readonly side: number,
              protected other: T) {}
  names: string[] = [
    "a",
  ];
  area?(): number;
}
class Square extends Base<string> { declare x: number;
  static count: number = 0; #own = 1;
  public override toString(this: Square): string { const a: number = 1; throw new Error(`here ${a}`); }
}
const deep = <T,>(value: T): T => { throw new TypeError("there"); };
export const run = (input: string) => {
  const made = new Square(2 as number, "x" satisfies string); const f = (x: unknown) => half(x as number);
  if (input === "class") made.toString();
  if (input === "generic") deep<number>(1);
  if (input === "other") f(3);
  const first = (Colour.Green as number) === 2 ? (() => { throw new RangeError("enum"); })() : 0;
};
"""
HALF = "type N = number; export const half = (x: N): N => { if (x % 2) throw new Error('odd'); return x / 2; };\n"


@pytest.mark.parametrize(
    ("input", "file", "text"),
    [
        ("class", "index.ts", "new Error(`here"),
        ("generic", "index.ts", 'new TypeError("there")'),
        ("other", "half.ts", "new Error('odd')"),
        ("enum", "index.ts", 'new RangeError("enum")'),
    ],
)
async def test_a_typescript_stack_has_the_authors_own_line_and_column(
    sandbox: Sandbox, input: str, file: str, text: str
) -> None:
    outcome = await run(sandbox, JAVASCRIPT, DRIFTING, files={"half.ts": HALF}, input=input)
    assert outcome.error is not None
    assert outcome.error.stack is not None, outcome.error
    source = {"index.ts": DRIFTING, "half.ts": HALF}[file]
    line = source[: source.index(text)].count("\n") + 1
    column = source.split("\n")[line - 1].index(text) + 1
    assert f"({file}:{line}:{column})" in outcome.error.stack.split("\n")[1], outcome.error.stack


async def test_jsx_keeps_its_lines_and_columns(sandbox: Sandbox) -> None:
    view = (
        "const React = { createElement: (type: any, props: any, ...inner: any[]) => typeof type === 'function'"
        " ? type(props) : { type, inner } };\n"
        "function Part({ n }: { n: number }) {\n  throw new Error(`part ${n}`);\n}\n"
        "export const view = () => (\n  <div>\n    <b>text</b>  <Part n={4} />\n  </div>\n);\n"
    )
    source = 'import { view } from "./view";\nexport const run = () => view();\n'
    outcome = await run(sandbox, JAVASCRIPT, source, files={"view.tsx": view})
    assert outcome.error is not None
    assert outcome.error.stack is not None
    frames = outcome.error.stack.split("\n")[1:]
    assert "(view.tsx:3:9)" in frames[0], frames
    assert "(index.ts:2:26)" in frames[-1], frames


async def test_decorators_are_refused_with_their_line(sandbox: Sandbox) -> None:
    source = "const log = (f: any) => f;\nclass A {\n  @log\n  run() {}\n}\nexport const run = () => new A();\n"
    probe = await sandbox.probe(JAVASCRIPT, "decorated", bundle(JAVASCRIPT, source))
    assert probe.error is not None
    assert "decorators are not offered here at index.ts:3:3" in probe.error.message
