"""The broker's state machine against an environment that lies: a socket pair stands in for the jailed process."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import uvloop

from plugyard.domain.limits import LimitPolicy
from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox import wire
from plugyard.sandbox.outside.broker import Allowance, End, Ended, Environment, State, read_error
from plugyard.sandbox.outside.calls import Calls, Holder
from plugyard.sandbox.outside.zygote_client import Child, Exit
from plugyard.sandbox.services.base import Scope
from plugyard.sandbox.services.registry import Services

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


class Slow:
    """A service that ends when it is told to, and remembers what it was asked."""

    methods = frozenset({"get"})

    def __init__(self) -> None:
        self.gates: list[asyncio.Event] = []
        self.asked: list[Any] = []
        self.open = 0
        self.most_open = 0
        self.cancelled = 0
        self.ends: list[str] = []

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        self.asked.append(arguments)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        gate = asyncio.Event()
        self.gates.append(gate)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.open -= 1
        return arguments.get("n")

    async def ended(self, execution_id: str) -> None:
        self.ends.append(execution_id)

    async def close(self) -> None:
        return


def calls(*granted: Service, service: Slow | None = None, **limits: int) -> Calls:
    """The calls of one execution with these grants."""
    services = Services()
    if service is not None:
        services.offer("cache", service)
    holder = Holder("execution", "acme", "plugin", tuple(Permission(one) for one in granted))
    effective = replace(LimitPolicy().effective(), **limits)
    return Calls(services, holder, effective, asyncio.get_running_loop().time() + 2)


async def answers(impostor: Impostor, count: int) -> list[wire.Answer]:
    """So many answers as the environment reads them."""
    loop, splitter, found = asyncio.get_running_loop(), wire.Splitter(1 << 20), []
    impostor.inner.setblocking(False)
    while len(found) < count:
        for body in splitter.feed(await asyncio.wait_for(loop.sock_recv(impostor.inner, 65536), 2)):
            message = wire.decode_to_environment(body)
            if isinstance(message, wire.Answer):
                found.append(message)
    return found


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
        done = await environment.run(INVOKE, calls(), ALLOWANCE)
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
        await environment.run(INVOKE, calls(), ALLOWANCE)
    assert ended.value.why is End.PROTOCOL
    assert impostor.killed
    assert environment.violations[0].kind == "protocol"


async def test_a_result_that_no_one_asked_for_ends_the_environment(impostor: Impostor) -> None:
    environment = await standing(impostor)
    impostor.say(wire.Done(True, False, b"1"))
    await asyncio.sleep(0.01)
    assert environment.state is State.ENDED
    with pytest.raises(Ended):
        await environment.run(INVOKE, calls(), ALLOWANCE)


async def test_another_protocol_is_not_spoken(impostor: Impostor) -> None:
    environment = Environment(cast(Child, impostor), "python")
    impostor.say(wire.Ready(wire.PROTOCOL + 1, 0))
    with pytest.raises(Ended):
        await environment.ready(2)


async def test_silence_ends_at_the_deadline(impostor: Impostor) -> None:
    environment = await standing(impostor)
    with pytest.raises(Ended) as ended:
        await environment.run(INVOKE, calls(), Allowance(0.05, 5, 1000))
    assert ended.value.why is End.TIMED_OUT


async def test_the_grant_comes_from_the_service_and_not_from_the_call(impostor: Impostor) -> None:
    environment = await standing(impostor)
    impostor.say(wire.Call(1, "cache", "get", b'{"granted": ["cache"]}'), wire.Done(True, False, b"1"))
    made = calls(Service.DATABASE)
    await environment.run(INVOKE, made, ALLOWANCE)
    assert made.violations[0].kind == "permission_denied"
    assert made.count == 1


async def test_calls_are_answered_in_the_order_in_which_they_end(impostor: Impostor) -> None:
    environment, slow = await standing(impostor), Slow()
    made = calls(Service.CACHE, service=slow)
    running = asyncio.create_task(environment.run(INVOKE, made, ALLOWANCE))
    impostor.say(*(wire.Call(n, "cache", "get", b'{"n": %d}' % n) for n in (1, 2, 3)))
    await asyncio.sleep(0.02)
    for gate in reversed(slow.gates):
        gate.set()
        await asyncio.sleep(0.005)
    assert [(one.ticket, one.value) for one in await answers(impostor, 3)] == [(3, b"3"), (2, b"2"), (1, b"1")]
    impostor.say(wire.Done(True, False, b"1"))
    await running
    await made.close()
    assert slow.ends == ["execution"]


async def test_sixteen_calls_run_and_the_others_wait(impostor: Impostor) -> None:
    environment, slow = await standing(impostor), Slow()
    made = calls(Service.CACHE, service=slow)
    running = asyncio.create_task(environment.run(INVOKE, made, ALLOWANCE))
    impostor.say(*(wire.Call(n, "cache", "get", b"{}") for n in range(1, 41)))
    for _ in range(40):
        await asyncio.sleep(0.005)
        for gate in slow.gates:
            gate.set()
    assert len(await answers(impostor, 40)) == 40
    assert slow.most_open == 16
    impostor.say(wire.Done(True, False, b"1"))
    await running


async def test_as_many_calls_run_at_a_time_as_the_limits_say(impostor: Impostor) -> None:
    environment, slow = await standing(impostor), Slow()
    made = calls(Service.CACHE, service=slow, in_flight=2)
    running = asyncio.create_task(environment.run(INVOKE, made, ALLOWANCE))
    impostor.say(*(wire.Call(n, "cache", "get", b"{}") for n in range(1, 7)))
    for _ in range(8):
        await asyncio.sleep(0.005)
        for gate in slow.gates:
            gate.set()
    assert len(await answers(impostor, 6)) == 6
    assert slow.most_open == 2
    impostor.say(wire.Done(True, False, b"1"))
    await running


async def test_calls_beyond_an_executions_own_rate_wait(impostor: Impostor) -> None:
    environment, slow = await standing(impostor), Slow()
    made = calls(Service.CACHE, service=slow, service_rate=10)
    running = asyncio.create_task(environment.run(INVOKE, made, ALLOWANCE))
    impostor.say(*(wire.Call(n, "cache", "get", b"{}") for n in range(1, 14)))
    await asyncio.sleep(0.05)
    # A burst of one second's worth begins at once, and each further call a tenth of a second later.
    assert 10 <= len(slow.asked) <= 11
    await asyncio.sleep(0.4)
    assert len(slow.asked) == 13
    impostor.say(wire.Done(True, False, b"1"))
    await running
    await made.close()


async def test_what_is_open_when_the_function_ends_is_cancelled(impostor: Impostor) -> None:
    environment, slow = await standing(impostor), Slow()
    made = calls(Service.CACHE, service=slow)
    impostor.say(*(wire.Call(n, "cache", "get", b"{}") for n in range(1, 31)))
    running = asyncio.create_task(environment.run(INVOKE, made, ALLOWANCE))
    await asyncio.sleep(0.02)
    impostor.say(wire.Done(True, False, b"1"))
    await running
    await made.close()
    assert (slow.cancelled, slow.open, slow.ends) == (16, 0, ["execution"])


@pytest.mark.parametrize("second", [1, 0])
async def test_a_repeated_or_forged_ticket_ends_the_environment(impostor: Impostor, second: int) -> None:
    environment, slow = await standing(impostor), Slow()
    impostor.say(wire.Call(1, "cache", "get", b"{}"), wire.Call(second, "cache", "get", b"{}"))
    made = calls(Service.CACHE, service=slow)
    with pytest.raises(Ended) as ended:
        await environment.run(INVOKE, made, ALLOWANCE)
    assert ended.value.why is End.PROTOCOL
    await made.close()
    assert slow.open == 0


async def test_a_ticket_of_an_earlier_execution_is_not_taken_again(impostor: Impostor) -> None:
    environment = await standing(impostor)
    impostor.say(wire.Call(7, "cache", "get", b"{}"), wire.Done(True, False, b"1"))
    await environment.run(INVOKE, calls(), ALLOWANCE)
    impostor.say(wire.Call(7, "cache", "get", b"{}"))
    with pytest.raises(Ended):
        await environment.run(INVOKE, calls(), ALLOWANCE)


async def test_a_call_after_the_end_of_the_function_ends_the_environment(impostor: Impostor) -> None:
    environment = await standing(impostor)
    impostor.say(wire.Done(True, False, b"1"), wire.Call(1, "cache", "get", b"{}"))
    await environment.run(INVOKE, calls(), ALLOWANCE)
    assert environment.state is State.ENDED


@pytest.mark.parametrize(
    ("limits", "arguments", "code"),
    [
        ({"service_calls": 3}, b"{}", "service_calls_exceeded"),
        ({"service_bytes": 100}, b'{"a": "%s"}' % (b"x" * 60), "service_bytes_exceeded"),
        ({"service_bytes": 300}, b"{}", "service_bytes_exceeded"),
    ],
)
async def test_too_many_or_too_long_calls_end_the_environment_and_the_limit_is_named(
    impostor: Impostor, limits: dict[str, int], arguments: bytes, code: str
) -> None:
    environment = await standing(impostor)
    impostor.say(*(wire.Call(n, "cache", "get", arguments) for n in range(1, 6)))
    made = calls(**limits)
    with pytest.raises(Ended) as ended:
        await environment.run(INVOKE, made, ALLOWANCE)
    assert ended.value.why is End.OVERRUN
    assert made.failure is not None
    assert made.failure.code == code
    assert made.failure.used is not None
    assert made.failure.used > (made.failure.limit or 0)


@pytest.mark.parametrize(
    "arguments",
    [
        b"",
        b"[]",
        b'{"a": [' + b"[]," * 50_000 + b"1]}",
        b"\xff",
        b'{"a":' * 5000,
        b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}",
    ],
)
async def test_arguments_that_are_no_object_or_too_deep_reach_no_service(impostor: Impostor, arguments: bytes) -> None:
    environment, slow = await standing(impostor), Slow()
    made = calls(Service.CACHE, service=slow)
    running = asyncio.create_task(environment.run(INVOKE, made, ALLOWANCE))
    impostor.say(wire.Call(1, "cache", "get", arguments))
    (answer,) = await answers(impostor, 1)
    assert not answer.ok
    assert json.loads(answer.value)["code"] == "invalid_arguments"
    assert slow.asked == []
    impostor.say(wire.Done(True, False, b"1"))
    await running


async def test_a_death_is_told_with_how_it_came(impostor: Impostor) -> None:
    environment = await standing(impostor)
    impostor.inner.close()
    impostor.exited.set_result(Exit(code=-1, signal=31))
    with pytest.raises(Ended) as ended:
        await environment.run(INVOKE, calls(), ALLOWANCE)
    assert ended.value.how == Exit(code=-1, signal=31)
    assert environment.violations[0].kind == "forbidden_system_call"


def test_a_death_with_something_unread_is_told_as_a_death() -> None:
    # uvloop, as in the service: of a socket that breaks, which that makes of this one, it tells once.
    uvloop.run(_dies_with_something_unread())


async def _dies_with_something_unread() -> None:
    outer, inner = socket.socketpair()
    outer.setblocking(False)
    with outer, inner:
        impostor = Impostor(inner, outer, asyncio.get_running_loop().create_future())
        environment = await standing(impostor)
        running = asyncio.create_task(environment.run(INVOKE, calls(), ALLOWANCE))
        await asyncio.sleep(0)
        impostor.say(wire.Log("info", "the last words", b"{}"))
        inner.close()  # The request that it was sent lies there unread.
        await asyncio.sleep(0.05)
        impostor.exited.set_result(Exit(code=-1, signal=9))
        with pytest.raises(Ended) as ended:
            await running
        assert (ended.value.why, ended.value.how) == (End.DIED, Exit(code=-1, signal=9))
        assert [line.message for line in environment.logs.lines] == ["the last words"]


async def test_what_was_answered_before_the_death_counts(impostor: Impostor) -> None:
    environment = await standing(impostor)
    running = asyncio.create_task(environment.run(INVOKE, calls(), ALLOWANCE))
    await asyncio.sleep(0)
    impostor.say(wire.Done(True, False, b"1"))
    impostor.inner.close()
    impostor.exited.set_result(Exit(code=0, signal=0))
    assert (await running).payload == b"1"
    await asyncio.sleep(0)
    assert environment.state is State.ENDED


@pytest.mark.parametrize("data", [b"", b"[]", b'{"code": 1}', b"\xff", b"[" * 5000])
def test_an_error_that_cannot_be_read_is_still_an_error(data: bytes) -> None:
    assert read_error(data).code == "plugin_error"


@pytest.mark.parametrize("limit", ["-1", "1e400", str(10**30), '"x"'])
def test_a_limit_that_no_record_can_hold_is_not_taken_for_one(limit: str) -> None:
    failure = read_error(b'{"code": "recursion_exceeded", "limit": %s}' % limit.encode()).to_failure()
    assert (failure.limit, failure.used) == (None, None)


def test_what_is_no_code_is_not_taken_for_one() -> None:
    failure = read_error(b'{"code": "<b>", "message": "m\\u0000"}').to_failure()
    assert (failure.code, failure.message) == ("plugin_error", "m")
