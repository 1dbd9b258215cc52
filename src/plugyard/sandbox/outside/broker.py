"""One environment, seen from the service: its state, its frames, its clock. The pool keeps these, the executor uses
them.

The broker believes nothing that comes out of the jail. Every frame has a size cap and a place in the state machine; one
that is out of place ends the environment. Time is kept here: the deadline and the CPU limit are one timer, and SIGKILL
is what they end with, whatever the guest is doing.
"""

import asyncio
import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar

import msgspec

from plugyard.domain.execution import ExecutionFailure, LogLine, Violation
from plugyard.sandbox import wire
from plugyard.sandbox.outside.calls import Calls
from plugyard.sandbox.outside.zygote_client import Child, Exit
from plugyard.sandbox.services.logger import LogBook

STACK_EXCEEDED, RECURSION_EXCEEDED = "stack_exceeded", "recursion_exceeded"
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_READ_BYTES = 64 * 1024
_SMALL_FRAME = 256 * 1024
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
# A phase that has computed for so long is no longer one that somebody waits a moment for: it goes on behind those that
# are. Between two looks twice as much time passes each time, up to the longest.
_SHORT_S, _LONGEST_LOOK_S = 0.02, 1.0
# Where a process cannot come forward again and has to be ended after its call, only what is long by any measure goes
# behind, and loading never does: a plugin that takes its time to load would never find a warm environment.
_LONG_S = 0.25
_PROCESSORS = sorted(os.sched_getaffinity(0))
# Shortest time between two looks at the CPU clock.
_LEAST_TICK_S = 0.001


class State(Enum):
    """What an environment is doing, and so which frames it may send."""

    STARTING = "starting"
    READY = "ready"
    PREPARING = "preparing"
    LOADING = "loading"
    IDLE = "idle"
    RUNNING = "running"
    ENDED = "ended"


class End(Enum):
    """Why an environment was ended from outside."""

    TIMED_OUT = "timed_out"
    CPU_EXCEEDED = "cpu_exceeded"
    CANCELLED = "cancelled"
    PROTOCOL = "protocol"
    OVERRUN = "overrun"
    CLOSED = "closed"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one phase (loading or running) may use."""

    timeout_s: float
    cpu_s: float
    frame_bytes: int


class GuestError(msgspec.Struct, frozen=True):
    """The JSON of a guest's error."""

    code: str = "plugin_error"
    message: str = ""
    stack: str | None = None
    limit: Size | None = None
    used: Size | None = None

    def to_failure(self) -> ExecutionFailure:
        """As a value of the domain; what is not a code is not taken for one."""
        code = self.code if _CODE.match(self.code) else "plugin_error"
        message, stack = self.message.replace("\0", ""), self.stack and self.stack.replace("\0", "")
        # The one limit that a guest keeps itself: the depth of its language's calls.
        limit = self.limit if code == RECURSION_EXCEEDED else None
        return ExecutionFailure(code, message, stack, limit, limit)


class Ended(Exception):
    """The environment has gone while something was asked of it."""

    def __init__(self, why: End, how: Exit | None = None, detail: str = "") -> None:
        super().__init__(detail or why.value)
        self.why = why
        self.how = how
        self.detail = detail


_error = msgspec.json.Decoder(GuestError)


def read_error(data: bytes) -> GuestError:
    """The error that a guest told; whatever the bytes are, there is one."""
    try:
        return _error.decode(data[: wire.MAX_ERROR_BYTES])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return GuestError(message="the plugin failed, and its error could not be read")


class Environment:
    """A forked environment: load a plugin into it once, run functions one at a time, end it.

    ``stays_behind`` is what this machine has shown: a process that went behind the others cannot come forward again.
    """

    stays_behind: ClassVar[bool] = False

    def __init__(self, child: Child, runtime: str) -> None:
        self.child = child
        self.runtime = runtime
        self.state = State.STARTING
        self.born = time.monotonic()
        self.idle_since = self.born
        self.exports: tuple[str, ...] = ()
        self.memory_bytes = 0
        self.renewable = False
        self.renewing = False
        self.private_bytes = 8 * 1024 * 1024
        self.counted_bytes = 0  # what the pool's sum holds of it
        self.retired = False
        self.load_logs: tuple[LogLine, ...] = ()
        # Of the present execution.
        self.calls: Calls | None = None
        self.violations: list[Violation] = []
        self.logs = LogBook(0, 0)
        self._last_ticket = 0
        self._loop = asyncio.get_running_loop()
        self._splitter = wire.Splitter(_SMALL_FRAME)
        self._waiter: asyncio.Future[Any] | None = None
        self._outgoing = bytearray()
        self.base_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._behind = False
        self._look_s = _SHORT_S
        self._allowance = Allowance(0, 0, 0)
        self._phase_began = 0.0
        self._phase_cpu = 0.0
        self._last_cpu = 0.0
        # The CPU clock of another process, see clock_getcpuclockid(3).
        self._clock = (~child.pid << 3) | 2
        self._statm = os.open(f"/proc/{child.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._loop.add_reader(child.socket.fileno(), self._read)
        child.exited.add_done_callback(self._on_exit)

    @property
    def alive(self) -> bool:
        """Whether it can still be asked for anything."""
        # A zygote that died ends its children before their sockets tell of it.
        return self.state is not State.ENDED and not self.child.exited.done()

    async def ready(self, timeout_s: float) -> None:
        """Wait until the jail is closed and the guest stands. Raises Ended."""
        if self.state is State.STARTING:
            await self._ask(None, Allowance(timeout_s, timeout_s, _SMALL_FRAME))

    async def load(
        self, memory_bytes: int, bundle: bytes, allowance: Allowance, *, renewable: bool = False
    ) -> GuestError | None:
        """Take a plugin in; the error when its code does not load. Raises Ended."""
        self.memory_bytes = memory_bytes
        self.renewable = renewable
        return await self._take_in(wire.Load(memory_bytes, bundle, renewable), allowance)

    async def renew(self, allowance: Allowance) -> GuestError | None:
        """Give it a guest memory that no execution has seen, with the same plugin in it. Raises Ended."""
        self.renewing = True
        try:
            return await self._take_in(wire.Renew(), allowance)
        finally:
            self.renewing = False

    async def _take_in(self, request: wire.Load | wire.Renew, allowance: Allowance) -> GuestError | None:
        self.logs = LogBook(wire.LOAD_LOG_LINES, wire.LOAD_LOG_BYTES)
        self.calls = None
        self._enter(State.LOADING)
        message = await self._ask(wire.frame(request), allowance)
        self.load_logs = self.logs.lines
        if isinstance(message, wire.Done):
            error = read_error(message.payload)
            return error if not message.trap or error.code == STACK_EXCEEDED else GuestError(code="crashed")
        if message.error:
            return read_error(message.error)
        self.exports = message.exports
        return None

    async def prepare(self, memory_bytes: int, bundle: bytes, allowance: Allowance) -> bytes:
        """The bundle with what need be done once only done; empty when it could not be. Raises Ended."""
        self._enter(State.PREPARING)
        message: wire.Prepared = await self._ask(wire.frame(wire.Prepare(memory_bytes, bundle)), allowance)
        return message.bundle

    async def run(self, request: wire.Invoke, calls: Calls, allowance: Allowance) -> wire.Done:
        """Run one function. Raises Ended; `calls`, `violations` and `logs` tell of the execution either way.

        Whoever called closes `calls` afterwards, before the environment is used again.
        """
        self.calls = calls
        self.violations = []
        self.logs = LogBook(request.log_lines, request.log_bytes, self.load_logs)
        self.load_logs = ()
        self._enter(State.RUNNING)
        done: wire.Done = await self._ask(wire.frame(request), allowance)
        return done

    def end(self, why: End, how: Exit | None = None, detail: str = "") -> None:
        """Kill it and let whoever waits know. Harmless when it has ended already."""
        if self.state is State.ENDED:
            return
        self._last_cpu = self._read_cpu()
        self.memory_used()
        self.state = State.ENDED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        descriptor = self.child.socket.fileno()
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)
        self.child.close()
        os.close(self._statm)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(Ended(why, how, detail))

    def cpu_s(self) -> float:
        """CPU time of the whole process so far, in seconds, by the kernel's account."""
        return self._last_cpu if self.state is State.ENDED else self._read_cpu()

    def memory_used(self) -> int:
        """Private memory beyond the zygote's, in bytes: a guest's memory never shrinks, so this is its peak."""
        if self.state is not State.ENDED:
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = os.pread(self._statm, 256, 0).split()
                private = (int(fields[1]) - int(fields[2])) * _PAGE_BYTES - self.base_bytes
                # A process that has just died shows zeroes; the last look before that holds.
                if int(fields[1]) > 0:
                    self.private_bytes = max(private, 0)
        return self.private_bytes

    # --- frames ---

    def _enter(self, state: State) -> None:
        # It may have died since it was taken from the pool, and what has ended must not be made to look alive.
        if self.state is State.ENDED:
            raise Ended(End.DIED)
        self.state = state

    async def _ask(self, data: bytes | None, allowance: Allowance) -> Any:
        if self.state is State.ENDED:
            raise Ended(End.DIED)
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._waiter = waiter
        self._splitter.cap = max(_SMALL_FRAME, allowance.frame_bytes)
        self._allowance = allowance
        self._phase_began = self._loop.time()
        self._phase_cpu = self._read_cpu()
        self._look_s = _SHORT_S
        self._timer = self._loop.call_later(min(allowance.timeout_s, allowance.cpu_s, _SHORT_S), self._tick)
        if data is not None:
            self._write(data)
        try:
            return await waiter
        except asyncio.CancelledError:
            self.end(End.CANCELLED)
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _tick(self) -> None:
        self._timer = None
        left = self._allowance.timeout_s - (self._loop.time() - self._phase_began)
        if left <= 0:
            self.end(End.TIMED_OUT)
            return
        cpu_used = self._read_cpu() - self._phase_cpu
        cpu_left = self._allowance.cpu_s - cpu_used
        if cpu_left <= 0:
            self.end(End.CPU_EXCEEDED)
            return
        # A process has one thread, so no less wall time than the CPU time that is left can use it up.
        next_look = min(left, cpu_left)
        if not self._behind:
            if self._is_long(cpu_used):
                self._go_behind()
            if not self._behind:
                self._look_s = min(2 * self._look_s, _LONGEST_LOOK_S)
                next_look = min(next_look, self._look_s)
        self._timer = self._loop.call_later(max(next_look, _LEAST_TICK_S), self._tick)

    def _is_long(self, cpu_used: float) -> bool:
        if Environment.stays_behind:
            return cpu_used > _LONG_S and self.state is not State.LOADING
        return cpu_used > _SHORT_S / 2

    def _go_behind(self) -> None:
        """Let those that compute for a moment only have the processors first, other environments included.

        By its scheduling class it has only what nobody else wants (sched(7), SCHED_IDLE), and it is kept off one
        processor: kernels that preempt lazily let whoever wakes on a busy one wait some milliseconds for the next tick.
        """
        with contextlib.suppress(OSError):
            os.sched_setscheduler(self.child.pid, os.SCHED_IDLE, os.sched_param(0))
            self._behind = True
            os.sched_setaffinity(self.child.pid, _PROCESSORS[1:] or _PROCESSORS)

    def _come_forward(self) -> None:
        """The next call begins as every other; where only root may raise a process again, it gets another one."""
        self._behind = False
        try:
            os.sched_setaffinity(self.child.pid, _PROCESSORS)
            os.sched_setscheduler(self.child.pid, os.SCHED_OTHER, os.sched_param(0))
        except OSError:
            self.retired = Environment.stays_behind = True

    def _read_cpu(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return self._last_cpu

    def _write(self, data: bytes) -> None:
        if self._outgoing:
            self._outgoing += data
            return
        try:
            sent = self.child.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # It has died; the reader sees the end of the stream and says how.
            return
        if sent < len(data):
            self._outgoing += memoryview(data)[sent:]
            self._loop.add_writer(self.child.socket.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        try:
            sent = self.child.socket.send(memoryview(self._outgoing)[: 1 << 20])
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._outgoing)
        del self._outgoing[:sent]
        if not self._outgoing:
            self._loop.remove_writer(self.child.socket.fileno())

    def _read(self) -> bool:
        """Take in what the environment has sent by now; whether there may be more of it."""
        try:
            data = self.child.socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            # How the process died comes from its zygote in a moment.
            self.memory_used()
            self._loop.remove_reader(self.child.socket.fileno())
            self.child.kill()
            return False
        try:
            for body in self._splitter.feed(data):
                self._handle(wire.decode_from_environment(body))
                if self.state is State.ENDED:
                    return False
        except wire.WireError as error:
            self.violations.append(Violation("protocol", str(error)[:200]))
            self.end(End.PROTOCOL, detail=str(error))
            return False
        return True

    def _on_exit(self, exited: asyncio.Future[Exit]) -> None:
        """The process has ended. What it said before is read first, and to its end.

        Where it left something unread, its socket is broken, and of a broken socket uvloop tells once, not until it is
        empty: whoever waited to be told of its end would wait until the deadline.
        """
        if self.state is State.ENDED or exited.cancelled():
            return
        while self._read():
            pass
        self._died(exited.result())

    def _died(self, how: Exit) -> None:
        if self.state is State.ENDED:
            return
        if how.signal == signal.SIGSYS:
            self.violations.append(Violation("forbidden_system_call", "the kernel ended the process at a system call"))
        self._last_cpu = max(self._last_cpu, how.cpu_s)
        self.end(End.DIED, how)

    def _handle(self, message: wire.FromEnvironment) -> None:
        state = self.state
        if isinstance(message, wire.Done) and state in (State.RUNNING, State.LOADING):
            self._settle(State.IDLE, message)
        elif isinstance(message, wire.Log) and state in (State.RUNNING, State.LOADING):
            self.logs.add(message.level, message.message, message.fields)
            if self.logs.flooded:
                raise wire.WireError("log lines beyond the limit")
        elif isinstance(message, wire.Call) and state is State.RUNNING:
            self._serve(message)
        elif isinstance(message, wire.Loaded) and state is State.LOADING:
            self._settle(State.IDLE, message)
        elif isinstance(message, wire.Prepared) and state is State.PREPARING:
            self._settle(State.READY, message)
        elif isinstance(message, wire.Ready) and state is State.STARTING and message.protocol == wire.PROTOCOL:
            self.base_bytes = message.base_bytes
            self._settle(State.READY, message)
        else:
            raise wire.WireError(f"{type(message).__name__} while {state.value}")

    def _settle(self, state: State, message: wire.FromEnvironment) -> None:
        self.state = state
        if self._behind:
            self._come_forward()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(message)

    def _serve(self, call: wire.Call) -> None:
        # Tickets only ever grow in the life of an environment, so none is forged for, or repeated from, another call.
        if call.ticket <= self._last_ticket or self.calls is None:
            raise wire.WireError(f"the ticket {call.ticket} after {self._last_ticket}")
        self._last_ticket = call.ticket
        self.calls.begin(call, self)

    # --- what `Calls` asks of an environment ---

    def answer(self, answer: wire.Answer) -> None:
        """Pass the end of a service call on; of no use once the function has ended."""
        if self.state is State.RUNNING:
            self._write(wire.frame(answer))

    def overrun(self) -> None:
        """The calls went beyond a limit, which `calls.failure` names."""
        self.end(End.OVERRUN)
