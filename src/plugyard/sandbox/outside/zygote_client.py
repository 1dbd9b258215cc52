"""The service's end of a zygote: start it, ask it for jailed processes, learn of their exits, restart it.

Used by the pool for environments and by `plugyard.gate` for inspectors. Everything runs on the event loop and nothing
blocks it.
"""

import asyncio
import contextlib
import itertools
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from plugyard.sandbox import jail, wire

Params = dict[str, bool | int | float | str | None]

_MAX_DESCRIPTORS = 4
_PATIENCE_S = 5.0
_AGAIN_S, _AGAIN_AT_MOST_S = 0.1, 5.0
log = structlog.get_logger("plugyard")


class ZygoteError(Exception):
    """The zygote did not start, died, or refused to fork."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended. `signal` is 0 when it exited by `code`; `lost` says that its zygote died with it."""

    code: int
    signal: int
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    lost: bool = False


@dataclass(frozen=True, slots=True)
class _Born:
    """A zygote: its id on this machine, and a pidfd."""

    pid: int
    pidfd: int


class Child:
    """One forked process: its id on this machine, its socket (non-blocking), and `exited`, a future of its `Exit`."""

    __slots__ = ("_pidfd", "exited", "pid", "socket")

    def __init__(self, pid: int, channel: socket.socket, pidfd: int, exited: asyncio.Future[Exit]) -> None:
        self.pid = pid
        self.socket = channel
        self.exited = exited
        self._pidfd = pidfd

    def kill(self) -> None:
        """End it with SIGKILL, at once and whatever it does; harmless when it has ended already."""
        if self._pidfd >= 0:
            _kill(self._pidfd)

    def close(self) -> None:
        """Kill it and give its descriptors back. Remove readers of `socket` from the loop before."""
        self.kill()
        self.socket.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class Zygote:
    """A zygote process and the children that it forked.

    `argv` follows the interpreter's own flags: `("-m", "plugyard.sandbox.inside", ...)`. The process gets an empty
    environment, no standard input or output, and one descriptor, whose number is appended to `argv`. With `namespaces`
    it lives in all those that this machine gives, and one of them that cannot be had when it starts ends it.

    One that has stood and died is started again at once, whether or not anybody asks for a child: until it stands, its
    service says that it is not ready, and is asked for nothing.
    """

    def __init__(self, argv: Sequence[str], *, namespaces: bool = True, start_timeout_s: float = 30.0) -> None:
        self._argv = tuple(argv)
        self._namespaces = namespaces
        self._start_timeout_s = start_timeout_s
        self._requests = itertools.count(1)
        self._starting = asyncio.Lock()
        # What was started, and the zygote, which may have gone on in a process of its own.
        self._process: subprocess.Popen[bytes] | None = None
        self._born: _Born | None = None
        self._control: socket.socket | None = None
        self._hello: asyncio.Future[wire.Hello] | None = None
        self._pending: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[int, Child] = {}
        self._reapers: set[asyncio.Task[None]] = set()
        self._reviving: asyncio.Task[None] | None = None
        self._stands = False
        self._closed = False
        self.starts = 0

    @property
    def alive(self) -> bool:
        """Whether the zygote has said hello and not gone."""
        return self._control is not None and self._hello is not None and self._hello.done()

    @property
    def pid(self) -> int | None:
        """The process id of the running zygote on this machine."""
        return self._born.pid if self._born else None

    async def start(self) -> None:
        """Start the process unless it runs. Raises ZygoteError with the zygote's own words."""
        async with self._starting:
            if self.alive:
                return
            if self._closed:
                raise ZygoteError("the sandbox is closed")
            loop = asyncio.get_running_loop()
            promised = (await asyncio.to_thread(jail.try_namespaces)).given if self._namespaces else ()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            spawning = asyncio.ensure_future(asyncio.to_thread(_spawn, self._argv, theirs, promised))
            try:
                self._process = await asyncio.shield(spawning)
            except asyncio.CancelledError:
                # The thread goes on with the descriptor, so it is waited for, and what it started is ended.
                with contextlib.suppress(OSError):
                    process = await spawning
                    process.kill()
                    await asyncio.to_thread(_reap, process, None)
                ours.close()
                raise
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
            self._control = ours
            self._hello = loop.create_future()
            loop.add_reader(ours.fileno(), self._on_readable)
            try:
                hello = await asyncio.wait_for(asyncio.shield(self._hello), self._start_timeout_s)
            except TimeoutError:
                self._hello.cancel()
                self._lost("the zygote did not start in time")
                raise ZygoteError("the zygote did not start in time") from None
            if hello.error or hello.protocol != wire.PROTOCOL:
                self._lost("the zygote did not start")
                raise ZygoteError(hello.error or f"the zygote speaks protocol {hello.protocol}, not {wire.PROTOCOL}")
            self.starts += 1
            self._stands = True

    async def fork(self, role: str, params: Params, fds: Sequence[int] = ()) -> Child:
        """A new child in `role`; starts a dead zygote again. `fds` are copied to the child. Raises ZygoteError."""
        if not self.alive:
            await self.start()
        if self._control is None:
            raise ZygoteError("the zygote has gone")
        request = next(self._requests)
        data = wire.pack(wire.Fork(request, role, params))
        future: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._pending[request] = future
        try:
            while True:
                try:
                    if fds:
                        socket.send_fds(self._control, [data], list(fds))
                    else:
                        self._control.send(data)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                    if self._control is None:
                        raise ZygoteError("the zygote has gone") from None
            return await future
        except OSError as error:
            raise ZygoteError(f"the zygote has gone: {error}") from error
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().close()
            raise
        finally:
            self._pending.pop(request, None)

    async def _revive(self) -> None:
        pause = _AGAIN_S
        while not self.alive and not self._closed:
            try:
                await self.start()
            except (ZygoteError, OSError) as error:
                log.warning("a zygote does not start again", module=self._argv[1], error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _AGAIN_AT_MOST_S)

    async def close(self) -> None:
        """End the zygote and all its children; returns when they are gone."""
        self._closed = True
        if self._reviving is not None:
            self._reviving.cancel()
            await asyncio.gather(self._reviving, return_exceptions=True)
        children = list(self._children.values())
        for child in children:
            child.kill()
        self._lost("the sandbox is closed")
        for child in children:
            child.kill()
        if self._reapers:
            await asyncio.gather(*self._reapers)

    def _on_readable(self) -> None:
        while self._control is not None:
            try:
                data, fds, flags, _ = socket.recv_fds(self._control, wire.MAX_CONTROL_BYTES, _MAX_DESCRIPTORS)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._lost(str(error))
                return
            if not data or flags & socket.MSG_CTRUNC:
                self._lost("the zygote has gone")
                return
            try:
                self._handle(wire.unpack_from_zygote(data), fds)
            except wire.WireError as error:
                self._lost(str(error))
                return

    def _handle(self, message: wire.FromZygote, fds: list[int]) -> None:
        if isinstance(message, wire.Forked):
            self._forked(message, fds)
            return
        if isinstance(message, wire.Born) and len(fds) == 1 and self._born is None:
            self._born = _Born(_id_of(fds[0]), fds[0])
            return
        for descriptor in fds:
            os.close(descriptor)
        if isinstance(message, wire.Exited):
            self._exited(message.pid, _exit_of(message))
        elif isinstance(message, wire.Refused):
            pending = self._pending.get(message.request)
            if pending is not None and not pending.done():
                pending.set_exception(ZygoteError(message.error))
        elif isinstance(message, wire.Hello) and self._hello is not None and not self._hello.done():
            if self._process is not None:
                # Where the zygote is another process, the one that was started has ended by now.
                self._process.poll()
            self._hello.set_result(message)

    def _forked(self, message: wire.Forked, fds: list[int]) -> None:
        if len(fds) != 2:
            for descriptor in fds:
                os.close(descriptor)
            raise wire.WireError("a child came without its descriptors")
        channel = socket.socket(fileno=fds[0])
        channel.setblocking(False)
        # The zygote counts its children in a number space of its own; on this machine they have other numbers.
        child = Child(_id_of(fds[1]), channel, fds[1], asyncio.get_running_loop().create_future())
        pending = self._pending.get(message.request)
        self._children[message.pid] = child
        if pending is None or pending.done():
            # Whoever asked has given up waiting.
            child.close()
        else:
            # One that has ended meanwhile, as a check of a small package may have, has said what it had to say.
            pending.set_result(child)

    def _exited(self, pid: int, how: Exit) -> None:
        child = self._children.pop(pid, None)
        if child is not None and not child.exited.done():
            child.exited.set_result(how)

    def _lost(self, why: str) -> None:
        """Forget the process and everything that it forked; the kernel ends its children with it."""
        # One that never stood is whoever's who started it.
        stood, self._stands = self._stands, False
        if stood and not self._closed and (self._reviving is None or self._reviving.done()):
            self._reviving = asyncio.get_running_loop().create_task(self._revive())
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        born, self._born = self._born, None
        if process is not None:
            if not self._closed:
                process.kill()
                if born is not None:
                    _kill(born.pidfd)
            task = asyncio.get_running_loop().create_task(asyncio.to_thread(_reap, process, born))
            self._reapers.add(task)
            task.add_done_callback(self._reapers.discard)
        if self._hello is not None and not self._hello.done():
            self._hello.set_result(wire.Hello(wire.PROTOCOL, (), why))
        self._hello = None
        for pending in self._pending.values():
            if not pending.done():
                pending.set_exception(ZygoteError(why))
        for number, child in list(self._children.items()):
            child.kill()
            self._exited(number, Exit(code=-1, signal=int(signal.SIGKILL), lost=True))


def _exit_of(message: wire.Exited) -> Exit:
    return Exit(
        code=message.code,
        signal=message.signal,
        cpu_s=message.user_s + message.system_s,
        peak_rss_bytes=message.peak_rss_bytes,
    )


def _id_of(pidfd: int) -> int:
    """The number on this machine of the process behind a pidfd; not above 0 once it is gone. Source: pidfd_open(2)."""
    with open(f"/proc/self/fdinfo/{pidfd}", "rb") as info:
        fields = dict(line.split(b":", 1) for line in info)
    return int(fields[b"Pid"])


def _spawn(argv: Sequence[str], control: socket.socket, namespaces: Sequence[str]) -> subprocess.Popen[bytes]:
    # It keeps compiled modules where this process does: nobody else loads what it loads, and to compile that anew at
    # every start takes longer than all the rest of it. Behind the walls it keeps none.
    flags = ("-I", "-X", "utf8", *(("-B",) if sys.dont_write_bytecode else ()))
    last = ":".join((str(control.fileno()), ",".join(namespaces)))
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
        [sys.executable, *flags, *argv, last],
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(control.fileno(),),
        # A group, so that Ctrl-C is the service's business alone. No session: Linux hands the processor out among
        # sessions first (autogroups, see sched(7)), and priorities count only within one.
        process_group=0,
    )


def _kill(pidfd: int) -> None:
    # A pidfd names this very process, so an id that the kernel has given to another one is never hit.
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _reap(process: subprocess.Popen[bytes], born: _Born | None) -> None:
    """Wait until the zygote and what was started in its place have ended; after a while by force."""
    if born is not None:
        gone = select.poll()
        gone.register(born.pidfd, select.POLLIN)
        if not gone.poll(_PATIENCE_S * 1000):
            _kill(born.pidfd)
    try:
        process.wait(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if born is not None:
        # Where both are one, it has been waited for already.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, born.pidfd, os.WEXITED)
        os.close(born.pidfd)
