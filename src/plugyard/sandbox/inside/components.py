"""The runtime `wasm` behind the walls: the role that compiles an author's component, and the role that runs it.

Both are roles of the zygote of environments. A component is hostile and so is what a compiler makes of it: both are
met only after the jail is closed. Machine code needs memory that becomes executable, which the jail of an environment
allows once, for the one artefact that comes through its socket, and then forbids for good (`jail.seal`) before
anything of it runs. The compiler's jail has to allow it too, because the engine loads what it compiles; nothing there
ever runs.
"""

import json
import re
import socket
from dataclasses import replace

from wasmtime import Config, Engine, WasmtimeError
from wasmtime.component import Component, ComponentItem, FuncType, ListType, String

from plugyard.sandbox import jail, wire
from plugyard.sandbox.inside.environment import (
    STACK,
    STACK_BYTES,
    Door,
    Environment,
    code_of,
    limit_guest,
    memory,
    new_store,
    reason,
)
from plugyard.sandbox.inside.textcall import TextFunction, takes_texts
from plugyard.sandbox.inside.zygote import Params, Role

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_MOST_FUNCTIONS = 500
_LONGEST_MESSAGE = 4_000
_HEADROOM_BYTES = 32 * 1024 * 1024
_FUNCTIONS = "functions: func() -> list<string>"
_INVOKE = "invoke: func(function: string, input: string, context: string) -> result<string, string>"


def engine(stack_bytes: int = STACK_BYTES) -> Engine:
    """The engine of authors' components; its artefacts load only into the same configuration.

    Memory images by copy-on-write would need a file, threads for compiling would need the right to start them, and
    neither exists in the jail. Shared memories and threads are refused for the same reason.
    """
    config = Config()
    config.memory_init_cow = False
    config.parallel_compilation = False
    config.wasm_threads = False
    config.max_wasm_stack = stack_bytes
    return Engine(config)


def prepare(stack_bytes: int = STACK_BYTES) -> dict[str, Role]:
    """The two roles, around one engine."""
    shared = engine(stack_bytes)
    return {"wasm": _Runner(shared).live, "compile": _Compiler(shared).live}


class _Compiler:
    """Makes machine code of one component, and ends."""

    def __init__(self, shared: Engine) -> None:
        self._engine = shared

    def live(self, channel: socket.socket, descriptors: list[int], params: Params) -> None:
        """The role: from the fork to the one answer."""
        config = replace(jail.JailConfig.from_params(params), maps_code=True)
        base_bytes, data_bytes = memory()
        jail.close(config, [channel.fileno()])
        wire.send(channel, wire.Ready(wire.PROTOCOL, base_bytes))
        request = wire.decode_to_environment(wire.Receiver(channel).receive())
        if not isinstance(request, wire.Compile):
            raise wire.WireError("a compiler is asked to compile, once")
        if config.enforced:
            jail.limit_data(data_bytes + request.memory_bytes)
        try:
            answer = self._compile(request.component)
        except (WasmtimeError, TypeError) as error:
            words = reason(error) if isinstance(error, WasmtimeError) else str(error)
            answer = wire.Compiled(b"", words)
        except MemoryError:
            answer = wire.Compiled(b"", "compiling it needs more memory than is allowed")
        wire.send(channel, answer)

    def _compile(self, binary: bytes) -> wire.Compiled:
        component = Component(self._engine, binary)
        exports = {name: extern.ty for name, extern in component.type.exports(self._engine).items()}
        for name, wanted, fits in (("functions", _FUNCTIONS, _lists_names), ("invoke", _INVOKE, _invokes)):
            if name not in exports:
                return wire.Compiled(b"", f"it does not export {wanted}")
            if not fits(exports[name]):
                return wire.Compiled(b"", f"its export {name} has another type than {wanted}")
        return wire.Compiled(bytes(component.serialize()), "")


def _lists_names(item: ComponentItem) -> bool:
    if not isinstance(item, FuncType) or item.params:
        return False
    return isinstance(item.result, ListType) and isinstance(item.result.element, String)


def _invokes(item: ComponentItem) -> bool:
    return takes_texts(item, 3)


class _Runner:
    """The role of an environment whose guest comes with the plugin."""

    def __init__(self, shared: Engine) -> None:
        self._engine = shared
        self._door = Door(shared)

    def live(self, channel: socket.socket, descriptors: list[int], params: Params) -> None:
        """The role: from the fork to the end of the environment."""
        config = replace(jail.JailConfig.from_params(params), maps_code=True)
        own, door = self._engine, self._door
        stack_bytes = params.get(STACK)
        if stack_bytes:
            # See `environment._Guest.live`.
            own = engine(int(stack_bytes))
            door = Door(own)
        base_bytes, data_bytes = memory()
        environment = ComponentEnvironment(channel, new_store(own), {}, data_bytes)
        environment.equip(own, door, config)
        door.environment = environment
        jail.close(config, [channel.fileno()])
        wire.send(channel, wire.Ready(wire.PROTOCOL, base_bytes))
        environment.serve()


class ComponentEnvironment(Environment):
    """An environment that takes in machine code where others take in text."""

    _engine: Engine
    _door: Door
    _config: jail.JailConfig

    def equip(self, shared: Engine, door: Door, config: jail.JailConfig) -> None:
        """What taking in a component needs."""
        self._engine, self._door, self._config = shared, door, config
        self.enforced = config.enforced

    def take_in(self, request: wire.Load) -> None:
        """Map the machine code, seal the jail, then let the component begin."""
        limit_guest(self._store, request.memory_bytes)
        try:
            component = Component.deserialize(self._engine, request.bundle)
        except WasmtimeError as error:
            self._turn_down("crashed", f"the machine code does not fit this service: {reason(error)}", trap=True)
            return
        jail.seal(self._config)
        if self.enforced:
            spare = _HEADROOM_BYTES + 4 * len(request.bundle)
            jail.limit_data(self._data_bytes + request.memory_bytes + spare)
        self._lines_left, self._bytes_left = wire.LOAD_LOG_LINES, wire.LOAD_LOG_BYTES
        try:
            names = self._begin(component)
        except WasmtimeError as error:
            self._turn_down(code_of(error), f"the component did not begin: {reason(error)}", trap=True)
            return
        bad = next((name for name in names if not _NAME.match(name)), None)
        if bad is not None or len(names) > _MOST_FUNCTIONS:
            what = f"more than {_MOST_FUNCTIONS} functions" if bad is None else f"{bad[:100]!r}, which is no identifier"
            self._turn_down("load_failed", f"the component's export functions names {what}", trap=False)
            return
        wire.send(self._channel, wire.Loaded(tuple(sorted(set(names))), b""))

    def _turn_down(self, code: str, message: str, *, trap: bool) -> None:
        failure = json.dumps({"code": code, "message": message}).encode()
        wire.send(self._channel, wire.Done(False, True, failure) if trap else wire.Loaded((), failure))

    def _begin(self, component: Component) -> list[str]:
        instance = self._door.linker.instantiate(self._store, component)
        functions, invoke = (instance.get_func(self._store, name) for name in ("functions", "invoke"))
        if functions is None or invoke is None or not takes_texts(invoke.type(self._store), 3):
            raise WasmtimeError("it lacks an export")
        self._exports = {"invoke": TextFunction(self._store, invoke, 3)}
        names: list[str] = functions(self._store)
        return names

    def _prepare(self, request: wire.Prepare) -> None:
        wire.send(self._channel, wire.Prepared(b""))

    def _enter(self, function: str, *texts: bytes) -> tuple[bool, bool, bytes]:
        ok, trap, payload = super()._enter(function, *texts)
        if not ok and not trap:
            # What a component calls an error is a sentence; codes are the platform's own.
            text = payload.decode()[:_LONGEST_MESSAGE]
            payload = json.dumps({"code": "plugin_error", "message": text}).encode()
        return ok, trap, payload
