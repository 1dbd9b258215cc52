"""The runtime `wasm`: what an honest component meets, and what a hostile one tries at each step of its life."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm

from plugyard.application.ports import Invocation, Outcome
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Runtime
from plugyard.sandbox import wire
from plugyard.sandbox.jail import JailConfig
from plugyard.sandbox.outside.broker import Allowance, Ended
from plugyard.sandbox.outside.compiler import CannotCompile, Compiler, CompilerLimits
from plugyard.sandbox.outside.components import CompiledFolder, Components
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.zygote_client import Zygote
from tests.unit.gate.component_samples import ECHO, component

from .hostile import LIMITS, value

LOOP = "(loop $on (br $on)) unreachable"
BOMB = (
    "(loop $on (if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable))"
    "(memory.fill (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4194304)) (i32.const 1)"
    " (i32.const 4194304)) (br $on)) unreachable"
)


async def run(
    sandbox: Sandbox, binary: bytes, *, input: Any = None, fresh: bool = True, plugin: str = "", **limits: int
) -> Outcome:
    async def fetch() -> bytes:
        return binary

    return await sandbox.execute(
        Invocation(
            execution_id=uuid.uuid4().hex,
            tenant_id="acme",
            plugin_id=plugin or uuid.uuid4().hex,
            version="1.0.0",
            digest=hashlib.sha256(binary).hexdigest(),
            runtime=Runtime.WASM,
            function="echo",
            input=json.dumps(input).encode(),
            context=b"{}",
            limits=replace(LIMITS, **limits),
            grants=(),
            fresh=fresh,
            bundle=fetch,
        )
    )


async def test_a_component_is_probed_for_its_functions_and_runs(sandbox: Sandbox) -> None:
    binary = component()
    probe = await sandbox.probe(Runtime.WASM, hashlib.sha256(binary).hexdigest(), binary)
    assert (probe.exports, probe.error) == (("echo",), None)
    assert value(await run(sandbox, binary, input={"ä": [1, None]})) == {"ä": [1, None]}


async def test_the_second_call_is_warm_and_memory_persists_unless_isolation_is_fresh(sandbox: Sandbox) -> None:
    # The heap's beginning is reset by each answer, and the byte at 3000 is nobody's: it counts calls as a digit.
    count = (
        "(if (i32.eqz (i32.load8_u (i32.const 3000))) (then (i32.store8 (i32.const 3000) (i32.const 48))))"
        "(i32.store8 (i32.const 3000) (i32.add (i32.load8_u (i32.const 3000)) (i32.const 1)))"
        "(call $answer (i32.const 0) (i32.const 3000) (i32.const 1))"
    )
    binary = component(count)
    outcomes = [await run(sandbox, binary, fresh=False, plugin="counter") for _ in range(3)]
    assert [value(outcome) for outcome in outcomes] == [1, 2, 3]
    assert [outcome.usage.start for outcome in outcomes[1:]] == ["warm", "warm"]
    assert [value(await run(sandbox, binary, plugin="counter2")) for _ in range(2)] == [1, 1]


async def test_an_error_is_the_components_own_sentence_and_no_code_of_the_platform(sandbox: Sandbox) -> None:
    outcome = await run(sandbox, component(ECHO.replace("const 0", "const 1")), input={"code": "out_of_memory"})
    assert outcome.status is ExecutionStatus.FAILED
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message) == ("plugin_error", '{"code": "out_of_memory"}')


@pytest.mark.parametrize(
    ("body", "limits", "status"),
    [
        (LOOP, {"timeout_ms": 200}, ExecutionStatus.TIMED_OUT),
        (LOOP, {"cpu_ms": 100}, ExecutionStatus.CPU_EXCEEDED),
        (BOMB, {}, ExecutionStatus.OUT_OF_MEMORY),
        ("unreachable", {}, ExecutionStatus.CRASHED),
        ("(call $answer (i32.const 0) (i32.const 0) (i32.const -1))", {}, ExecutionStatus.CRASHED),
        ("(call $answer (i32.const 7) (i32.const 0) (i32.const 0))", {}, ExecutionStatus.CRASHED),
        ("(call $answer (i32.const 0) (i32.const 2000) (i32.const 9))", {}, ExecutionStatus.FAILED),
    ],
)
async def test_a_hostile_call_ends_by_its_limit_and_spoils_nothing(
    sandbox: Sandbox, body: str, limits: dict[str, int], status: ExecutionStatus
) -> None:
    outcome = await run(sandbox, component(body), **limits)
    assert outcome.status is status, outcome.error
    assert value(await run(sandbox, component(), input=1)) == 1


@pytest.mark.parametrize(
    ("start", "status"),
    [("(func $s (loop $on (br $on))) (start $s)", "timed_out"), ("(func $s unreachable) (start $s)", "crashed")],
)
async def test_code_that_runs_at_instantiation_is_behind_the_same_walls(
    sandbox: Sandbox, start: str, status: str
) -> None:
    outcome = await run(sandbox, component(start=start), timeout_ms=300)
    assert outcome.status.value == status, outcome.error


async def test_memory_that_is_asked_for_at_once_is_refused_by_the_limit(sandbox: Sandbox) -> None:
    grow = (
        "(if (i32.ne (memory.grow (i32.const 4096)) (i32.const -1)) (then unreachable))"
        "(call $answer (i32.const 0) (local.get $input) (local.get $length))"
    )
    assert value(await run(sandbox, component(grow), input=2, memory_bytes=64 << 20)) == 2


async def test_names_that_are_no_identifiers_do_not_load(sandbox: Sandbox) -> None:
    binary = component(name="a\\00b!")
    probe = await sandbox.probe(Runtime.WASM, hashlib.sha256(binary).hexdigest(), binary)
    assert probe.error is not None
    assert probe.error.code == "load_failed"
    assert "identifier" in probe.error.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(component)", "functions: func() -> list<string>"),
        ('(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)) '
         '(func (export "functions") (canon lift (core func $i "f"))))', "another type"),
        ('(component (core module $m (memory 1 1 shared)))', "threads"),
    ],
)  # fmt: skip
async def test_what_is_no_plugin_does_not_compile_and_says_why(sandbox: Sandbox, text: str, says: str) -> None:
    binary = bytes(wat2wasm(text))
    probe = await sandbox.probe(Runtime.WASM, hashlib.sha256(binary).hexdigest(), binary)
    assert probe.error is not None
    assert says in probe.error.message, probe.error


async def test_bytes_that_are_no_machine_code_of_ours_are_not_run(sandbox: Sandbox, guests: Guests) -> None:
    # As if the seal had been forged: the engine's own check is the second lock, and the jail is closed by then.
    for data in (b"", b"\x7fELF" + bytes(200), component()):
        environment = await sandbox._pool._make("wasm")
        try:
            error = await environment.load(64 << 20, data, Allowance(5, 5, 1 << 20))
            assert error is not None
            assert error.code == "crashed"
        except Ended:
            pass
        finally:
            sandbox._pool.discard(environment)


# --- the compiler and what it leaves -------------------------------------------------------------------------------


@pytest.fixture
async def zygote(guests: Guests) -> AsyncIterator[Zygote]:
    zygote = Zygote(["-m", "plugyard.sandbox.inside"])
    await zygote.start()
    yield zygote
    await zygote.close()


def _many_functions(count: int) -> bytes:
    """A component that costs the compiler time and memory: functions of many additions each."""
    adds = "(i32.add (local.get 0) " * 100 + "(local.get 0)" + ")" * 100
    functions = f"(func (param i32) (result i32) {adds})" * count
    return bytes(wat2wasm(f"(component (core module {functions}))"))


async def test_a_compilation_that_takes_too_long_is_ended(zygote: Zygote) -> None:
    compiler = Compiler(zygote, JailConfig(), CompilerLimits(timeout_s=0.3))
    with pytest.raises(CannotCompile, match=r"longer than 0\.3 s"):
        await compiler.compile(_many_functions(20_000))
    await asyncio.sleep(0.1)
    assert zygote._children == {}


async def test_a_compilation_that_needs_too_much_memory_is_ended(zygote: Zygote) -> None:
    compiler = Compiler(zygote, JailConfig(), CompilerLimits(memory_bytes=8 << 20))
    with pytest.raises(CannotCompile, match="memory"):
        await compiler.compile(_many_functions(20_000))


async def test_machine_code_beyond_the_cap_is_refused(zygote: Zygote) -> None:
    with pytest.raises(CannotCompile):
        await Compiler(zygote, JailConfig(), CompilerLimits(artefact_bytes=1000)).compile(component())


async def test_a_component_is_compiled_once_and_taken_from_disk_afterwards(zygote: Zygote, tmp_path: Path) -> None:
    folder = CompiledFolder(tmp_path, b"secret")
    compiler = Compiler(zygote, JailConfig())
    first, second = await asyncio.gather(*(Components(compiler, folder).artefact("d", component()) for _ in range(2)))
    broken = Compiler(zygote, JailConfig(), CompilerLimits(timeout_s=0.0))
    assert await Components(broken, folder).artefact("d", component()) == first
    assert len(first) == len(second)
    assert folder.read(folder.name(component())) == first


async def test_a_compilers_process_that_is_asked_for_something_else_ends(zygote: Zygote) -> None:
    child = await zygote.fork("compile", JailConfig().to_params())
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(child.socket, wire.frame(wire.Load(1 << 20, b"{}")))
    how = await asyncio.wait_for(child.exited, 5)
    child.close()
    assert how.code == 1
