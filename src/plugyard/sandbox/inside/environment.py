"""One environment: a jailed process that holds one WebAssembly instance, one plugin, one tenant.

`prepare` runs once in the zygote; what it maps is shared by all environments. Each environment is then
`Environment.live` in a fork: it instantiates the guest, closes the jail, and only then reads the first byte that an
author wrote.
"""

import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from wasmtime import Config, Engine, Store, WasiConfig, WasmtimeError
from wasmtime.component import Component, Linker, Record

from plugyard.sandbox import jail, wire
from plugyard.sandbox.inside.textcall import TextFunction, takes_texts
from plugyard.sandbox.inside.zygote import Params, Role
from plugyard.sandbox.jail.native import MACHINE

STACK = "stack_bytes"
"""The parameter of a fork that asks for another stack than the zygote's engines have, in bytes."""
STACK_BYTES = 512 * 1024
"""The stack of an engine of which nobody asks for another."""
HOST = "plugyard:plugin/host@1.0.0"
# What the world `plugin` of `sdk/plugin.wit` exports, and how many texts each takes.
EXPORTS = {"prepare": 1, "load": 1, "invoke": 3}

# What the process may hold beside the guest's memory: the bundle, inputs and outputs in transit, the interpreter.
_HEADROOM_BYTES = 96 * 1024 * 1024
_PAGE_BYTES = 4096
_STACK_IS_FULL = "wasm trap: call stack exhausted"
# More than any toolchain makes; a component with thousands of them would only wear the engine out.
_TABLE_ELEMENTS, _INSTANCES, _TABLES, _MEMORIES = 1_000_000, 128, 128, 32


def engine(stack_bytes: int = STACK_BYTES, *, any_processor: bool = False) -> Engine:
    """The engine that compiles and runs guests; an artefact loads into the same configuration, whatever the stack.

    What it compiles runs on this processor, and with `any_processor` on every other of its kind: it then asks for no
    more than x86-64-v2, or the first ARM64. Such an engine is for compiling alone.
    Neither fuel nor epochs: time is kept from outside, which also ends a guest that sleeps, and costs nothing here.
    """
    config = Config()
    config.max_wasm_stack = stack_bytes
    if any_processor:
        config.target = f"{MACHINE}-unknown-linux-gnu"
        if MACHINE == "x86_64":
            config.cranelift_flag_enable("x86-64-v2")
    return Engine(config)


def prepare(artefacts: Mapping[str, str], stack_bytes: int = STACK_BYTES) -> dict[str, Role]:
    """Map the compiled guests, by runtime; every runtime is a role of the zygote."""
    shared = engine(stack_bytes)
    return {runtime: _map(shared, path).live for runtime, path in artefacts.items()}


def _map(on: Engine, path: str) -> "_Guest":
    before = jail.open_files()
    # deserialize_file trusts its file: only artefacts that this service compiled itself ever come here.
    component = Component.deserialize_file(on, path)
    exports = component.type.exports(on)
    if not all(name in exports and takes_texts(exports[name].ty, count) for name, count in EXPORTS.items()):
        raise RuntimeError(f"{path} has not the exports of its world")
    # The engine keeps the artefact open, to read only: a new instance maps its first memory from there.
    return _Guest(on, component, sorted(jail.open_files() - before))


class Door:
    """The imports of `sdk/plugin.wit`, bound once in the zygote; in a fork they lead to its `environment`.

    The linker keeps references to the functions for as long as it lives, so the environment is found here.
    """

    def __init__(self, shared: Engine) -> None:
        self.environment: Environment | None = None
        self.linker = Linker(shared)
        self.linker.add_wasip2()
        with self.linker.root() as root, root.add_instance(HOST) as host:
            host.add_func("start", self._start)
            host.add_func("wait", self._wait)
            host.add_func("log", self._log)

    def _present(self) -> "Environment":
        if self.environment is None:
            raise WasmtimeError("the guest called the platform while it was made")
        return self.environment

    def _start(self, _store: object, service: str, method: str, arguments: str) -> int:
        return self._present().start(service, method, arguments)

    def _wait(self, _store: object, timeout_ms: float | None) -> Record | None:
        return self._present().wait(timeout_ms)

    def _log(self, _store: object, level: str, message: str, fields: str) -> None:
        self._present().log(level, message, fields)


class _Guest:
    """A compiled guest with its imports bound, waiting to be instantiated in a fork."""

    def __init__(self, on: Engine, component: Component, artefact: Sequence[int]) -> None:
        self._engine = on
        self._component = component
        self._artefact = artefact
        self._door = Door(on)

    def live(self, channel: socket.socket, descriptors: list[int], params: Params) -> None:
        """The role: from the fork to the end of the environment.

        A stack belongs to an engine, so whoever asks for another one than the zygote's engine has gets an engine of its
        own here, before the jail closes; the machine code is mapped once more, and copied nowhere.
        """
        stack_bytes = params.get(STACK)
        if stack_bytes:
            # No path leads to the artefact any more, but it is open.
            with jail.path_of(self._artefact[0]) as path:
                own = _map(engine(int(stack_bytes)), path)
            own._live(channel, params)
        else:
            self._live(channel, params)

    def _live(self, channel: socket.socket, params: Params) -> None:
        base_bytes, _ = memory()
        store, exports = self._instantiate()
        _, data_bytes = memory()
        environment = Environment(channel, store, exports, data_bytes)
        environment.remake = self._instantiate
        self._door.environment = environment
        config = jail.JailConfig.from_params(params)
        environment.enforced = config.enforced
        jail.close(config, [channel.fileno(), *self._artefact])
        wire.send(channel, wire.Ready(wire.PROTOCOL, base_bytes))
        environment.serve()

    def _instantiate(self) -> tuple[Store, dict[str, TextFunction]]:
        store = new_store(self._engine)
        instance = self._door.linker.instantiate(store, self._component)
        found = {name: instance.get_func(store, name) for name in EXPORTS}
        return store, {name: TextFunction(store, one, EXPORTS[name]) for name, one in found.items() if one is not None}


class Environment:
    """The loop behind the walls: a plugin is loaded once, then its functions run one after another."""

    def __init__(
        self, channel: socket.socket, store: Store, exports: Mapping[str, TextFunction], data_bytes: int
    ) -> None:
        self.enforced = True
        self.remake: Callable[[], tuple[Store, dict[str, TextFunction]]] | None = None
        self._plugin: wire.Load | None = None
        self._channel = channel
        self._frames = wire.Receiver(channel)
        self._store = store
        self._exports = exports
        self._data_bytes = data_bytes
        self._readable = select.poll()
        self._readable.register(channel, select.POLLIN)
        self._tickets = 0
        self._under_way: set[int] = set()
        self._local: deque[wire.Answer] = deque()
        self._running = False
        self._lines_left = 0
        self._bytes_left = 0

    def serve(self) -> NoReturn:
        """Do what the service asks until it closes the channel (EOFError)."""
        while True:
            request = wire.decode_to_environment(self._frames.receive())
            if isinstance(request, wire.Load):
                self._plugin = request if request.renewable else None
                self.take_in(request)
            elif isinstance(request, wire.Renew):
                self._renew()
            elif isinstance(request, wire.Prepare):
                self._prepare(request)
            elif isinstance(request, wire.Invoke):
                self._run(request)
            # An answer to a call that no one waits for any more is dropped.

    def _limit(self, request: wire.Load | wire.Prepare) -> None:
        limit_guest(self._store, request.memory_bytes)
        if self.enforced:
            spare = _HEADROOM_BYTES + 4 * len(request.bundle)
            jail.limit_data(self._data_bytes + request.memory_bytes + spare)

    def _prepare(self, request: wire.Prepare) -> None:
        self._limit(request)
        ok, _, payload = self._enter("prepare", request.bundle)
        wire.send(self._channel, wire.Prepared(payload if ok else b""))

    def take_in(self, request: wire.Load) -> None:
        self._limit(request)
        self._lines_left, self._bytes_left = wire.LOAD_LOG_LINES, wire.LOAD_LOG_BYTES
        ok, trap, payload = self._enter("load", request.bundle)
        if ok:
            wire.send(self._channel, wire.Loaded(tuple(json.loads(payload)), b""))
        elif trap:
            wire.send(self._channel, wire.Done(False, True, payload))
        else:
            wire.send(self._channel, wire.Loaded((), payload[: wire.MAX_ERROR_BYTES]))

    def _renew(self) -> None:
        """A guest memory that no execution has seen, with the plugin in it."""
        if self.remake is None or self._plugin is None:
            raise wire.WireError("this environment cannot be renewed")
        # The old memory goes before the new one comes, or the limit would have to hold both.
        self._exports = {}
        self._store.close()
        self._store, self._exports = self.remake()
        self.take_in(self._plugin)

    def _run(self, request: wire.Invoke) -> None:
        self._under_way.clear()
        self._local.clear()
        self._lines_left, self._bytes_left = request.log_lines, request.log_bytes
        self._running = True
        ok, trap, payload = self._enter("invoke", request.function.encode(), request.input, request.context)
        self._running = False
        if ok and len(payload) > request.output_bytes:
            ok, payload = False, json.dumps({"code": "output_too_large", "used": len(payload)}).encode()
        wire.send(self._channel, wire.Done(ok, trap, payload))

    def _enter(self, function: str, *texts: bytes) -> tuple[bool, bool, bytes]:
        """Call into the guest: whether it succeeded, whether the engine stopped it, and the JSON that came of it."""
        try:
            ok, payload = self._exports[function](*texts)
        except WasmtimeError as error:
            return False, True, json.dumps({"code": code_of(error), "message": reason(error)}).encode()
        return ok, False, payload

    def start(self, service: str, method: str, arguments: str) -> int:
        """The guest's import: pass a service call to the service."""
        self._tickets += 1
        ticket = self._tickets
        data = arguments.encode()
        if not self._running:
            self._refuse(ticket, "not_running", "services can be called while a function runs, not on import")
        elif len(data) > wire.MAX_ARGUMENT_BYTES:
            text = f"the arguments have {len(data)} bytes; at most {wire.MAX_ARGUMENT_BYTES} are allowed"
            self._refuse(ticket, "arguments_too_large", text)
        else:
            wire.send(self._channel, wire.Call(ticket, service, method, data))
            self._under_way.add(ticket)
        return ticket

    def _refuse(self, ticket: int, code: str, message: str) -> None:
        refusal = {"code": code, "message": message}
        self._local.append(wire.Answer(ticket, False, json.dumps(refusal).encode()))

    def wait(self, timeout_ms: float | None) -> Record | None:
        """The guest's import: sleep until an answer comes or time is over."""
        if self._local:
            return _record(self._local.popleft())
        if timeout_ms is None and not self._under_way:
            raise WasmtimeError("the plugin waits for something that nothing will bring about")
        end = None if timeout_ms is None else time.monotonic() + max(timeout_ms, 0.0) / 1000
        while True:
            if end is not None and not self._frames.holds_one:
                left = end - time.monotonic()
                # Rounded up by poll's own granularity, so that a sleep is never shorter than asked.
                if not self._readable.poll(max(0.0, left * 1000 + 0.5)):
                    return None
            answer = wire.decode_to_environment(self._frames.receive())
            if not isinstance(answer, wire.Answer):
                raise wire.WireError("a request came while a function ran")
            if answer.ticket in self._under_way:
                self._under_way.discard(answer.ticket)
                return _record(answer)

    def log(self, level: str, message: str, fields: str) -> None:
        """The guest's import: pass a log line on while the execution may still write one.

        The line that goes beyond the cap is passed on too, so that the service learns that there was one.
        """
        if self._lines_left < 0 or self._bytes_left < 0:
            return
        if len(message) > wire.MAX_MESSAGE_BYTES:
            message = message[: wire.MAX_MESSAGE_BYTES // 4] + " ..."
        if len(fields) > wire.MAX_MESSAGE_BYTES:
            fields = '{"truncated": true}'
        self._lines_left -= 1
        data = fields.encode()
        # Counted as the service counts, or the line that shows the cap there would be followed by others.
        self._bytes_left -= len(message) + len(data)
        wire.send(self._channel, wire.Log(level, message, data))


def new_store(shared: Engine) -> Store:
    """A store without arguments, variables, folders or addresses, whose streams lead nowhere."""
    store = Store(shared)
    store.set_wasi(WasiConfig())
    return store


def limit_guest(store: Store, memory_bytes: int) -> None:
    """Cap what a guest may have. Memory is capped for each memory here, and for all together by the process."""
    store.set_limits(memory_bytes, _TABLE_ELEMENTS, _INSTANCES, _TABLES, _MEMORIES)


def _record(answer: wire.Answer) -> Record:
    record = Record()
    record.ticket, record.ok, record.value = answer.ticket, answer.ok, answer.value.decode()  # type: ignore[attr-defined]
    return record


def code_of(error: WasmtimeError) -> str:
    """The code of a failure at which the engine stopped the guest."""
    # A component's failure comes without the number of its trap; the engine's sentence is all there is to know it by.
    return "stack_exceeded" if reason(error) == _STACK_IS_FULL else "crashed"


def reason(error: WasmtimeError) -> str:
    """The engine's own words, without the backtrace of machine addresses."""
    lines = [line.strip() for line in str(error).splitlines()]
    causes = [line for line in lines if line and not line[0].isdigit() and "backtrace" not in line]
    return (causes[-1] if causes else "the engine stopped the plugin")[:500]


def memory() -> tuple[int, int]:
    """Private resident memory and writable address space of this process, in bytes. Source: proc_pid_statm(5)."""
    fields = jail.read_own("statm").split()
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES, int(fields[5]) * _PAGE_BYTES
