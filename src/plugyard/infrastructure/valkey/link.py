"""The connections to the server, and the one place that knows whether it is there.

A ``Lane`` is one connection on which many ask at once: what is asked within one turn of the event loop leaves in one
write, answers come in order, and nobody waits for anybody else's round trip. Rate limits, quotas and the cache have a
lane each, so that large values stand in no limit's way: a lane on which answers come too slowly is behind by itself,
and is asked nothing until it has caught up.

A connection that breaks or is silent for ``command_ms``, and an error that says the server serves nobody, opens the
circuit of all (``Link.lose``): from then on nobody asks, and ``Link`` alone tries in the background, soon at first and
then every half second, until the server takes a write again. So a server that is gone costs those who were waiting at
that moment, each at most ``command_ms``, and nobody after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import structlog
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from plugyard.infrastructure.valkey.address import Address

PREFIX = "plugyard:"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
_LOOKED_AT_EVERY_S = 1.0
_STEADY_S = 10.0
"""After so long without a failure the next one is met with the short pause again."""
_LATE_S = 0.02
# Errors of one command that say the server cannot serve anyone, and those that only another setting can mend.
_UNFIT = (AuthenticationError, AuthorizationError, NoPermissionError, NoScriptError, OutOfMemoryError, ReadOnlyError)
_UNFIT_WORDS = ("MISCONF", "MASTERDOWN", "BUSY", "NOREPLICAS", "CLUSTERDOWN", "MOVED", "UNKILLABLE", "NOAUTH")
_REFUSALS = (AuthenticationError, AuthorizationError, InvalidResponse, NoPermissionError)
_REFUSAL_WORDS = ("MOVED", "NOAUTH", "WRONGPASS", "unknown command")
log = structlog.get_logger("plugyard.valkey")
Run = Callable[..., Awaitable[Any]]


class Away(Exception):
    """The server does not answer. Whoever asked does without it, by a rule of its own."""


class Refused(Exception):
    """The server answers and will not have us; the message says why and holds no password."""


class Script:
    """A Lua script beside this module, which the server runs as one step. It is named by its digest."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = resources.files(__package__).joinpath("lua", f"{name}.lua").read_bytes()
        self.digest = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class Counts:
    """What metrics show: times that the server was lost, questions that went without it, commands that it refused."""

    lost: int = 0
    skipped: int = 0
    failed: int = 0


class Lane:
    """One connection of a ``Link``, shared by all who ask through it."""

    def __init__(self, link: Link, scripts: Sequence[Script]) -> None:
        self._link = link
        self.scripts = tuple(scripts)
        self._connection: Any = None
        self._out: list[tuple[Any, ...]] = []
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._something = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._heard = self._given_up = 0.0

    @property
    def up(self) -> bool:
        """Whether there is somebody to ask who keeps up: where some were given up and their answers have not come yet,
        what is asked now would come later still."""
        return self._connection is not None and not (self._asked and self._asked[0][1] <= self._given_up)

    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Ask for one command; the future is its answer, or ``Away``. Raises ``Away`` where the lane is not ``up``."""
        if not self.up:
            self._link.counts.skipped += 1
            raise Away
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        due = loop.time() + self._link.command_s
        self._out.append(command)
        self._asked.append((future, due))
        self._something.set()
        if self._timer is None:
            self._timer = loop.call_at(due, self._overdue)
        return future

    def run(self, script: Script, keys: Sequence[Any], *arguments: Any) -> asyncio.Future[Any]:
        """Ask for a script; see ``send``."""
        return self.send("EVALSHA", script.digest, len(keys), *keys, *arguments)

    def tell(self, script: Script, keys: Sequence[Any], *arguments: Any) -> None:
        """Have a script run and care for no answer. Nothing happens while the server is away."""
        with contextlib.suppress(Away):
            self.run(script, keys, *arguments).add_done_callback(_unheard)

    def use(self, connection: Any) -> None:
        """Begin to work on a connection that is open."""
        self._connection = connection
        self._something.clear()
        self._tasks = [asyncio.create_task(self._write(connection)), asyncio.create_task(self._read(connection))]

    def drop(self) -> Any:
        """Let go of the connection, and of all who wait; the connection, for whoever closes it."""
        connection, self._connection = self._connection, None
        for task in self._tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._asked, self._out = self._asked, deque(), []
        for future, _ in waiting:
            self._give_up(future)
        return connection

    async def _write(self, connection: Any) -> None:
        with self._lost_with_errors():
            while True:
                await self._something.wait()
                self._something.clear()
                commands, self._out = self._out, []
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _read(self, connection: Any) -> None:
        with self._lost_with_errors():
            while True:
                try:
                    answer = await connection.read_response()
                except ResponseError as error:
                    self._heard = asyncio.get_running_loop().time()
                    self._link.counts.failed += 1
                    future = self._asked.popleft()[0]
                    if not future.done():
                        future.set_exception(Away(str(error)))
                        future.exception()
                    if _is(error, _UNFIT, _UNFIT_WORDS):
                        raise
                    # One command was wrong, as where somebody else wrote to its key; the others are served.
                    log.warning("valkey refused a command", error=str(error)[:200])
                    continue
                self._heard = asyncio.get_running_loop().time()
                future = self._asked.popleft()[0]
                if not future.done():
                    future.set_result(answer)

    @contextlib.contextmanager
    def _lost_with_errors(self) -> Any:
        try:
            yield
        except (RedisError, OSError) as error:
            self._link.lose(_told(error))

    def _overdue(self) -> None:
        """Look whether the oldest question has waited for too long.

        Where nothing was heard for as long the server is lost. Where answers come, only too many or too large for the
        time, whoever waited for too long goes without; the question stays in its place, for its answer comes in turn.
        """
        loop, timer = asyncio.get_running_loop(), self._timer
        self._timer = None
        if not self._asked or timer is None:
            return
        due, now, silent = self._asked[0][1], loop.time(), self._heard + self._link.command_s
        if due > now:
            self._timer = loop.call_at(due, self._overdue)
        elif now - timer.when() > _LATE_S:
            # It is this process that was late. What has arrived meanwhile is read first.
            self._timer = loop.call_later(_LATE_S, self._overdue)
        elif silent <= now:
            self._link.lose(f"no answer within {self._link.command_s * 1000:g} ms")
        else:
            self._given_up = now
            for future, its_due in self._asked:
                if its_due > now:
                    silent = min(silent, its_due)
                    break
                self._give_up(future)
            self._timer = loop.call_at(silent, self._overdue)

    def _give_up(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            self._link.counts.skipped += 1
            future.set_exception(Away())
            future.exception()  # one who was cancelled meanwhile asks for it no more


class Link:
    """The server, as this process sees it. ``open`` before the first question and ``close`` at the end.

    ``connect_s`` bounds a connection with its greeting, ``command_s`` each question, in seconds.
    """

    def __init__(self, address: Address, *, connect_s: float = 0.25, command_s: float = 0.1) -> None:
        self.address, self.connect_s, self.command_s = address, connect_s, command_s
        self.up = False
        self.counts = Counts()
        self._lanes: list[Lane] = []
        self._before_return: list[Callable[[Run], Awaitable[None]]] = []
        self._change = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._pause_s = _FIRST_PAUSE_S
        self._since = time.monotonic()
        self._away_s = 0.0
        self._told = ""

    def lane(self, *scripts: Script) -> Lane:
        """A connection of its own for somebody who asks, with the scripts that it will run. Before ``open``."""
        lane = Lane(self, scripts)
        self._lanes.append(lane)
        return lane

    def before_return(self, work: Callable[[Run], Awaitable[None]]) -> None:
        """Have something done each time that the server is there again, before anybody asks it; it gets what runs a
        command."""
        self._before_return.append(work)

    @property
    def away_s(self) -> float:
        """Seconds that the server was away since the start, those until now included."""
        return self._away_s + (0.0 if self.up else time.monotonic() - self._since)

    async def open(self) -> None:
        """Connect. A server that is away is waited for in the background; raises ``Refused`` for one that is there and
        refuses, because only another setting mends that."""
        try:
            await self._connect()
        except Refused:
            raise
        except (RedisError, OSError, TimeoutError) as error:
            self._tell(error)
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Close every connection."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self.up = False
        for lane in self._lanes:
            await _shut(lane.drop())
        await asyncio.gather(*self._closing, return_exceptions=True)

    def lose(self, why: str) -> None:
        """Open the circuit: whoever waits is told, and nobody asks until the server is there again."""
        if not self.up:
            return
        self.up = False
        self.counts.lost += 1
        now = time.monotonic()
        if now - self._since > _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        self._since = now
        for lane in self._lanes:
            task = asyncio.get_running_loop().create_task(_shut(lane.drop()))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._change.set()
        self._tell(why)

    def _tell(self, reason: Exception | str, *, unforeseen: bool = False) -> None:
        """Log why the server is away, once for each reason."""
        told = reason if isinstance(reason, str) else _told(reason)
        if told != self._told:
            self._told = told
            sentence = "valkey is away; limits are kept by this replica and caches are skipped"
            log.warning(sentence, server=self.address.shown, reason=told, exc_info=unforeseen)

    async def _watch(self) -> None:
        while True:
            try:
                await (self._look() if self.up else self._try())
            except (Refused, RedisError, OSError, TimeoutError) as error:
                self._tell(error)
            except Exception as error:
                # Nobody else tries, so what nobody has thought of ends no watching either.
                self._tell(error, unforeseen=True)

    async def _look(self) -> None:
        """See that the server is there while nobody asks."""
        # Not wait_for: a cancellation that meets the end of its waiting is lost in it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOKED_AT_EVERY_S):
                await self._change.wait()
        self._change.clear()
        for lane in self._lanes:
            with contextlib.suppress(Away):
                await lane.send("PING")

    async def _try(self) -> None:
        """See whether the server is there again."""
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        await self._connect()

    async def _connect(self) -> None:
        """Connect every lane and let them be used; all or none."""
        made: list[Any] = []
        try:
            for lane in self._lanes:
                made.append(self.address.connection())
                await self._greet(made[-1], lane.scripts)
            if made:
                async with asyncio.timeout(max(self.connect_s, 10 * self.command_s)):
                    for work in self._before_return:
                        await work(lambda *command: _answer(made[-1], command))
        except BaseException as error:
            # A cancellation as well: nobody else knows of these connections.
            for connection in made:
                await _shut(connection)
            if isinstance(error.__cause__, ssl.SSLCertVerificationError) or _is(error, _REFUSALS, _REFUSAL_WORDS):
                raise Refused(_told(error)) from error
            raise
        for lane, connection in zip(self._lanes, made, strict=True):
            lane.use(connection)
        now = time.monotonic()
        self._away_s += now - self._since
        log.info("valkey is there", server=self.address.shown, away_s=round(now - self._since, 2))
        self.up, self._since, self._told = True, now, ""
        self._change.clear()

    async def _greet(self, connection: Any, scripts: Sequence[Script]) -> None:
        """Open a connection, and see that the server takes writes and knows the scripts."""
        async with asyncio.timeout(self.connect_s):
            await connection.connect()
            commands: list[tuple[Any, ...]] = [("SCRIPT", "LOAD", script.source) for script in scripts]
            commands.append(("SET", f"{PREFIX}probe", "1", "PX", "1000"))
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            for _ in commands:
                await connection.read_response()


async def _answer(connection: Any, command: tuple[Any, ...]) -> Any:
    await connection.send_packed_command(connection.pack_commands([command]), check_health=False)
    return await connection.read_response()


async def _shut(connection: Any) -> None:
    if connection is not None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await connection.disconnect(nowait=True)


def _is(error: BaseException, kinds: tuple[type[Exception], ...], words: tuple[str, ...]) -> bool:
    return isinstance(error, kinds) or (isinstance(error, ResponseError) and str(error).startswith(words))


def _told(error: BaseException) -> str:
    """What went wrong, in one line. The client's messages name hosts and commands, and never a password."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer within the time of a connection"
    return f"{type(error).__name__}: {error}"[:200]


def _unheard(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
