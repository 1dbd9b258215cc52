"""The broker's state machine against an environment that lies: a socket pair stands in for the jailed process."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from plugyard.sandbox import wire
from plugyard.sandbox.outside.broker import Allowance, End, Ended, Environment, State, read_error
from plugyard.sandbox.outside.zygote_client import Child, Exit

ALLOWANCE = Allowance(timeout_s=2, cpu_s=2, frame_bytes=1000)
INVOKE = wire.Invoke("run", b"{}", b"{}", 1000, 3, 1000)


@dataclass
class Impostor:
    """The inner end: whoever holds it may send what it likes."""

    inner: socket.socket
    socket: socket.socket
    exited: asyncio.Future[Exit]
    pid: int = field(default_factory=os.getpid)
    killed: bool = False

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        self.kill()
        self.socket.close()

    def say(self, *messages: wire.Frame) -> None:
        self.inner.sendall(b"".join(wire.frame(message) for message in messages))


@pytest.fixture
async def impostor() -> AsyncIterator[Impostor]:
    outer, inner = socket.socketpair()
    outer.setblocking(False)
    with outer, inner:
        yield Impostor(inner, outer, asyncio.get_running_loop().create_future())
        if outer.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(outer)


async def standing(impostor: Impostor) -> Environment:
    """An environment that has loaded its plugin."""
    environment = Environment(cast(Child, impostor), "python")
    impostor.say(wire.Ready(wire.PROTOCOL, 0))
    await environment.ready(2)
    impostor.say(wire.Loaded(("run",), b""))
    assert await environment.load(1 << 20, b"{}", ALLOWANCE) is None
    return environment


async def test_an_honest_environment_runs_one_function_after_another(impostor: Impostor) -> None:
    environment = await standing(impostor)
    for _ in range(2):
        impostor.say(wire.Log("info", "hello", b"{}"), wire.Done(True, False, b"1"))
        done = await environment.run(INVOKE, frozenset(), ALLOWANCE)
        assert (done.ok, done.payload) == (True, b"1")
        assert [line.message for line in environment.logs.lines] == ["hello"]
    environment.end(End.CLOSED)
    assert impostor.killed


LIES: list[Any] = [
    b"\xff\xff\xff\xff",
    (1).to_bytes(4, "big") + b"\xc1",
    wire.frame(wire.Ready(wire.PROTOCOL, 0)),
    wire.frame(wire.Loaded((), b"")),
    wire.frame(wire.Load(1, b"")),
    b"".join(wire.frame(wire.Log("info", "x", b"{}")) for _ in range(5)),
]


@pytest.mark.parametrize("lie", LIES)
async def test_a_frame_that_is_out_of_place_ends_the_environment(impostor: Impostor, lie: bytes) -> None:
    environment = await standing(impostor)
    impostor.inner.sendall(lie)
    with pytest.raises(Ended) as ended:
        await environment.run(INVOKE, frozenset(), ALLOWANCE)
    assert ended.value.why is End.PROTOCOL
    assert impostor.killed
    assert environment.violations[0].kind == "protocol"


async def test_a_result_that_no_one_asked_for_ends_the_environment(impostor: Impostor) -> None:
    environment = await standing(impostor)
    impostor.say(wire.Done(True, False, b"1"))
    await asyncio.sleep(0.01)
    assert environment.state is State.ENDED
    with pytest.raises(Ended):
        await environment.run(INVOKE, frozenset(), ALLOWANCE)


async def test_another_protocol_is_not_spoken(impostor: Impostor) -> None:
    environment = Environment(cast(Child, impostor), "python")
    impostor.say(wire.Ready(wire.PROTOCOL + 1, 0))
    with pytest.raises(Ended):
        await environment.ready(2)


async def test_silence_ends_at_the_deadline(impostor: Impostor) -> None:
    environment = await standing(impostor)
    with pytest.raises(Ended) as ended:
        await environment.run(INVOKE, frozenset(), Allowance(0.05, 5, 1000))
    assert ended.value.why is End.TIMED_OUT


async def test_the_grant_comes_from_the_service_and_not_from_the_call(impostor: Impostor) -> None:
    environment = await standing(impostor)
    impostor.say(wire.Call(1, "cache", "get", b'{"granted": ["cache"]}'), wire.Done(True, False, b"1"))
    await environment.run(INVOKE, frozenset({"database"}), ALLOWANCE)
    assert environment.violations[0].kind == "permission_denied"
    assert environment.calls == 1


async def test_a_death_is_told_with_how_it_came(impostor: Impostor) -> None:
    environment = await standing(impostor)
    impostor.inner.close()
    impostor.exited.set_result(Exit(code=-1, signal=31))
    with pytest.raises(Ended) as ended:
        await environment.run(INVOKE, frozenset(), ALLOWANCE)
    assert ended.value.how == Exit(code=-1, signal=31)
    assert environment.violations[0].kind == "forbidden_system_call"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"code": 1}', b"\xff", b"[" * 5000])
def test_an_error_that_cannot_be_read_is_still_an_error(data: bytes) -> None:
    assert read_error(data).code == "plugin_error"


def test_what_is_no_code_is_not_taken_for_one() -> None:
    failure = read_error(b'{"code": "<b>", "message": "m\\u0000"}').to_failure()
    assert (failure.code, failure.message) == ("plugin_error", "m")
