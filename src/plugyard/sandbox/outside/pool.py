"""Keeps environments: spares that wait for a plugin, idle ones that wait for their plugin's next call, and the queue
for both.

Used by the executor alone. An environment belongs to one (tenant, plugin, digest, memory limit) for its whole life.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from plugyard.domain.errors import Overloaded, SandboxUnavailable
from plugyard.sandbox.jail import JailConfig
from plugyard.sandbox.outside.broker import End, Ended, Environment, State
from plugyard.sandbox.outside.zygote_client import Child, Zygote, ZygoteError

_START_TIMEOUT_S = 20.0
_SWEEP_S = 5.0
# An environment that is not measured yet is taken to hold so much.
_MEMORY_GUESS = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How many environments there may be, for how long, and who waits. Bytes and seconds.

    `crowd` environments of one plugin may run before its next call waits `patience_s` for one of them rather than
    starting another. `share` is how many of all environments one tenant's calls may hold; what is beyond that is kept
    for the others, however long its calls take.
    """

    spares: int = 2
    max_environments: int = 256
    memory_bytes: int = 4096 * 1024 * 1024
    queue_per_tenant: int = 256
    queue_timeout_s: float = 10.0
    idle_s: float = 300.0
    max_age_s: float = 3600.0
    crowd: int = 2
    patience_s: float = 0.02
    share: float = 0.75


Key = tuple[str, str, str, int]
Name = TypeVar("Name")


@dataclass(slots=True, eq=False)
class Waiter:
    """A call in the queue; its future receives an environment of its own key, None for leave to take any, or LATE."""

    queue: str
    key: Key
    future: asyncio.Future["Environment | Late | None"]
    since: float


class Late(Enum):
    """What a waiter gets when its time is over."""

    LATE = "late"


class Pool:
    """Environments by key. `acquire` and `release` are the whole of its use, `discard` for what must not be reused."""

    def __init__(self, zygote: Zygote, runtimes: tuple[str, ...], settings: PoolSettings, jail: JailConfig) -> None:
        self._zygote = zygote
        self._runtimes = runtimes
        self._settings = settings
        self._params = jail.to_params()
        self._idle: OrderedDict[Environment, Key] = OrderedDict()
        self._idle_by_key: dict[Key, list[Environment]] = {}
        self._busy: dict[Environment, Key] = {}
        self._busy_by_key: dict[Key, int] = {}
        # By tenant: environments that its calls hold or start.
        self._held: Counter[str] = Counter()
        self._bytes = 0
        self._spares: dict[str, deque[Environment]] = {runtime: deque() for runtime in runtimes}
        self._starting = 0
        self._filling: asyncio.Task[None] | None = None
        self._queues: OrderedDict[str, deque[Waiter]] = OrderedDict()
        self._patient: dict[Key, deque[Waiter]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Start the zygote and fill the spares. Raises SandboxUnavailable."""
        try:
            await self._zygote.start()
        except (ZygoteError, OSError) as error:
            raise SandboxUnavailable(f"The sandbox did not start: {error}") from error
        self._sweeper = asyncio.create_task(self._sweep())
        if self._settings.spares:
            await self._fill()

    async def close(self) -> None:
        """End every environment; those who wait get SandboxUnavailable."""
        self._closed = True
        for task in (self._sweeper, self._filling):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for waiters in [*self._queues.values(), *self._patient.values()]:
            for waiter in waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(SandboxUnavailable("The sandbox is closing."))
        self._queues.clear()
        self._patient.clear()
        for environment in [*self._idle, *self._busy, *(one for spares in self._spares.values() for one in spares)]:
            environment.end(End.CLOSED)
        self._idle.clear()
        self._idle_by_key.clear()
        for spares in self._spares.values():
            spares.clear()

    def environments(self) -> Mapping[str, int]:
        """How many there are, by what they do, and how many calls wait."""
        return {
            "running": len(self._busy),
            "idle": len(self._idle),
            "spare": sum(len(spares) for spares in self._spares.values()),
            "starting": self._starting,
            "queued": sum(len(waiters) for waiters in (*self._queues.values(), *self._patient.values())),
        }

    # --- taking and giving back ---

    async def acquire(self, key: Key, runtime: str, fresh: bool, stack_bytes: int = 0) -> tuple[Environment, str]:
        """An environment for one call, and how it came: warm (its plugin is loaded), spare, or cold.

        `stack_bytes` asks for another stack than spares have, and is then told apart by the key.

        Raises Overloaded when the tenant's queue is full or time is over, SandboxUnavailable when nothing can start.
        """
        if not fresh:
            environment = self._take_idle(key)
            if environment is None and self._busy_by_key.get(key, 0) >= self._settings.crowd:
                environment = await self._be_patient(key)
            if environment is not None:
                return environment, "warm"
        # Whoever has waited goes before whoever comes.
        self._let_next_in()
        if self._admits(key[0]):
            self._reserve(key[0])
        else:
            handed = await self._queue(key, fresh)
            if handed is not None:
                return handed, "warm"
        # A place is reserved from here on.
        spare = self._take_spare(runtime) if not stack_bytes else None
        if spare is not None:
            self._give_up_place(key[0])
            self._occupy(spare, key)
            self._fill_later()
            return spare, "spare"
        try:
            made = await self._make(runtime, stack_bytes)
        except BaseException:
            self._give_up_place(key[0])
            self._let_next_in()
            raise
        self._give_up_place(key[0])
        self._occupy(made, key)
        self._fill_later()
        return made, "cold"

    def release(self, environment: Environment) -> None:
        """Give back an environment whose plugin is loaded and whose last call ended well."""
        key = self._leave(environment)
        if (
            key is None
            or self._closed
            or environment.state is not State.IDLE
            or environment.retired
            or time.monotonic() - environment.born > self._settings.max_age_s
        ):
            self._uncount(environment)
            environment.end(End.CLOSED)
            self._let_next_in()
            return
        self._count_memory(environment)
        waiter = None if self._is_turn_of_another(key[0]) else self._next_for(key)
        if waiter is not None:
            if key[0] in self._queues:
                self._queues.move_to_end(key[0])
            self._occupy(environment, key)
            waiter.future.set_result(environment)
            return
        environment.idle_since = time.monotonic()
        self._idle[environment] = key
        self._idle_by_key.setdefault(key, []).append(environment)
        self._let_next_in()
        self._keep_within_memory()

    def discard(self, environment: Environment) -> None:
        """End an environment that must not be reused."""
        self._leave(environment)
        self._uncount(environment)
        environment.end(End.CLOSED)
        self._let_next_in()

    def forget(self, plugin_id: str) -> None:
        """End the plugin's idle environments, and its busy ones as soon as they are free."""
        for environment, key in list(self._idle.items()):
            if key[1] == plugin_id:
                self._drop_idle(environment)
        for environment, key in list(self._busy.items()):
            if key[1] == plugin_id:
                environment.retired = True
                if environment.renewing:
                    # Nobody waits for it, and nobody will.
                    environment.end(End.CLOSED)

    # --- inside ---

    def _occupy(self, environment: Environment, key: Key) -> None:
        self._busy[environment] = key
        self._busy_by_key[key] = self._busy_by_key.get(key, 0) + 1
        self._held[key[0]] += 1
        self._count_memory(environment)

    def _leave(self, environment: Environment) -> Key | None:
        key = self._busy.pop(environment, None)
        if key is not None:
            left = self._busy_by_key[key] - 1
            if left:
                self._busy_by_key[key] = left
            else:
                del self._busy_by_key[key]
            self._let_go(key[0])
        return key

    def _reserve(self, tenant: str) -> None:
        """Count an environment that a call of this tenant is about to take, so that nobody else takes its place."""
        self._starting += 1
        self._held[tenant] += 1

    def _give_up_place(self, tenant: str) -> None:
        self._starting -= 1
        self._let_go(tenant)

    def _let_go(self, tenant: str) -> None:
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]

    def _count_memory(self, environment: Environment) -> None:
        # Kept as a sum: with hundreds of environments, adding them up at each call would cost more than the call.
        self._bytes += environment.private_bytes - environment.counted_bytes
        environment.counted_bytes = environment.private_bytes

    def _uncount(self, environment: Environment) -> None:
        self._bytes -= environment.counted_bytes
        environment.counted_bytes = 0

    def _take_idle(self, key: Key) -> Environment | None:
        found = self._idle_by_key.get(key)
        while found:
            # The one that ran last: its memory is the most likely to be in the processor's caches.
            environment = found.pop()
            del self._idle[environment]
            if not found:
                del self._idle_by_key[key]
            if environment.alive:
                self._occupy(environment, key)
                return environment
            self._uncount(environment)
            environment.end(End.CLOSED)
        return None

    def _drop_idle(self, environment: Environment) -> None:
        key = self._idle.pop(environment)
        found = self._idle_by_key[key]
        found.remove(environment)
        if not found:
            del self._idle_by_key[key]
        self._uncount(environment)
        environment.end(End.CLOSED)

    def _take_spare(self, runtime: str) -> Environment | None:
        spares = self._spares[runtime]
        while spares:
            environment = spares.popleft()
            if environment.state is State.READY and environment.alive:
                return environment
            environment.end(End.CLOSED)
        return None

    def _count(self) -> int:
        spares = sum(len(spares) for spares in self._spares.values())
        return len(self._busy) + len(self._idle) + self._starting + spares

    def _memory(self) -> int:
        spares = sum(len(spares) for spares in self._spares.values())
        return self._bytes + (spares + self._starting) * _MEMORY_GUESS

    def _admits(self, tenant: str) -> bool:
        """Whether a call of this tenant may take one more environment now."""
        # What the service does for itself (preparing, probing) is nobody's and passes quickly.
        return (not tenant or self._held[tenant] < self._most) and self._room()

    @property
    def _most(self) -> int:
        """The environments that one tenant's calls may hold."""
        return max(1, int(self._settings.max_environments * self._settings.share))

    def _room(self) -> bool:
        """Whether one more environment may be busy, after idle ones have made way."""
        while len(self._busy) + len(self._idle) + self._starting >= self._settings.max_environments and self._idle:
            self._drop_idle(next(iter(self._idle)))
        self._keep_within_memory()
        if len(self._busy) + self._starting >= self._settings.max_environments:
            return False
        return self._memory() < self._settings.memory_bytes or not (self._busy or self._starting)

    def _keep_within_memory(self) -> None:
        if not self._idle:
            return
        excess = self._memory() - self._settings.memory_bytes
        while excess > 0 and self._idle:
            # The first is the one whose last use is longest ago.
            oldest = next(iter(self._idle))
            excess -= oldest.private_bytes
            self._drop_idle(oldest)

    # --- waiting ---

    async def _be_patient(self, key: Key) -> Environment | None:
        waiter = Waiter("", key, asyncio.get_running_loop().create_future(), time.monotonic())
        self._patient.setdefault(key, deque()).append(waiter)
        handed = await self._wait(waiter, self._settings.patience_s)
        return handed if isinstance(handed, Environment) else None

    async def _queue(self, key: Key, fresh: bool) -> Environment | None:
        waiting = self._queues.setdefault(key[0], deque())
        now = time.monotonic()
        if len(waiting) >= self._settings.queue_per_tenant:
            # Whoever comes back when the first has had its turn finds room; it has waited so long already.
            told = min(max(now - waiting[0].since, 1.0), self._settings.queue_timeout_s)
            raise Overloaded("Too many executions of this tenant are waiting for an environment.", retry_after_s=told)
        wanted = key if not fresh else (*key[:3], -1)
        waiter = Waiter(key[0], wanted, asyncio.get_running_loop().create_future(), now)
        waiting.append(waiter)
        handed = await self._wait(waiter, self._settings.queue_timeout_s)
        if isinstance(handed, Late):
            raise Overloaded("No environment became free in time.", retry_after_s=self._settings.queue_timeout_s)
        return handed

    async def _wait(self, waiter: Waiter, timeout_s: float) -> Environment | Late | None:
        timer = asyncio.get_running_loop().call_later(timeout_s, _give_up, waiter.future)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            future = waiter.future
            if future.done() and not future.cancelled() and future.exception() is None:
                handed = future.result()
                if isinstance(handed, Environment):
                    self.release(handed)
                elif handed is None:
                    self._give_up_place(waiter.queue)
                    self._let_next_in()
            raise
        finally:
            timer.cancel()
            self._remove(waiter)

    def _remove(self, waiter: Waiter) -> None:
        _take_out(self._queues, waiter.queue, waiter)
        _take_out(self._patient, waiter.key, waiter)

    def _next_for(self, key: Key) -> Waiter | None:
        """The first that waits for an environment of this very key."""
        for waiting in (self._patient.get(key, ()), self._queues.get(key[0], ())):
            for waiter in waiting:
                if waiter.key == key and not waiter.future.done():
                    return waiter
        return None

    def _is_turn_of_another(self, tenant: str) -> bool:
        """Whether a call of another tenant waits that comes before this tenant's next."""
        for other, waiting in self._queues.items():
            if other == tenant:
                return False
            if self._held[other] < self._most and any(not waiter.future.done() for waiter in waiting):
                return True
        return False

    def _let_next_in(self) -> None:
        """Give leave to those in the queue while there is room, one tenant after another; each has a place reserved."""
        while not self._closed and (waiter := self._next_in_turn()) is not None and self._room():
            self._queues.move_to_end(waiter.queue)
            self._reserve(waiter.queue)
            waiter.future.set_result(None)

    def _next_in_turn(self) -> Waiter | None:
        for tenant, waiting in self._queues.items():
            if tenant and self._held[tenant] >= self._most:
                continue
            for waiter in waiting:
                if not waiter.future.done():
                    return waiter
        return None

    # --- making ---

    async def _make(self, runtime: str, stack_bytes: int = 0) -> Environment:
        # A zygote that died takes its children with it; the second try finds the new one.
        for attempt in (1, 2):
            try:
                child = await self._zygote.fork(runtime, {**self._params, "stack_bytes": stack_bytes})
                environment = _environment_of(child, runtime)
            except (ZygoteError, OSError) as error:
                if attempt == 2:
                    raise SandboxUnavailable(f"No environment could be started: {error}") from error
                continue
            try:
                await environment.ready(_START_TIMEOUT_S)
            except Ended as ended:
                if attempt == 2:
                    raise SandboxUnavailable(
                        "An environment ended before its jail was closed; nothing was executed. "
                        "`plugyard doctor` says what this machine lacks."
                    ) from ended
                continue
            except BaseException:
                environment.end(End.CLOSED)
                raise
            return environment
        raise SandboxUnavailable

    def _fill_later(self) -> None:
        if self._settings.spares and not self._closed and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill_soon())

    async def _fill_soon(self) -> None:
        # The call that took the spare goes first; a spare is for the next one.
        await asyncio.sleep(0.02)
        try:
            await self._fill()
        except SandboxUnavailable:
            # The next call that needs an environment starts the zygote again and tells of the failure.
            return

    async def _fill(self) -> None:
        for runtime in self._runtimes:
            while len(self._spares[runtime]) < self._settings.spares:
                if self._count() >= self._settings.max_environments + self._settings.spares * len(self._runtimes):
                    return
                environment = await self._make(runtime)
                if self._closed:
                    environment.end(End.CLOSED)
                    return
                self._spares[runtime].append(environment)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._settings.idle_s))
            now = time.monotonic()
            for environment in list(self._idle):
                idle_too_long = now - environment.idle_since > self._settings.idle_s
                too_old = now - environment.born > self._settings.max_age_s
                if idle_too_long or too_old or not environment.alive:
                    self._drop_idle(environment)
            for spares in self._spares.values():
                for environment in [one for one in spares if not one.alive]:
                    spares.remove(environment)
                    environment.end(End.CLOSED)
            self._fill_later()


def _give_up(future: asyncio.Future[Environment | Late | None]) -> None:
    if not future.done():
        future.set_result(Late.LATE)


def _environment_of(child: Child, runtime: str) -> Environment:
    try:
        return Environment(child, runtime)
    except OSError:
        # It has gone already, and with it what there was to read of it.
        child.close()
        raise


def _take_out(queues: dict[Name, deque[Waiter]], name: Name, waiter: Waiter) -> None:
    waiting = queues.get(name)
    if waiting is not None:
        if waiter in waiting:
            waiting.remove(waiter)
        if not waiting:
            del queues[name]
