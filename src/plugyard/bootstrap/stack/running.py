"""Brings the stack up in the order of its parts' need, starts again what ends by itself, and takes everything down."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from plugyard.bootstrap.databases import migrate_urls
from plugyard.bootstrap.stack import servers
from plugyard.bootstrap.stack.parts import CannotRun, Part
from plugyard.bootstrap.stack.plan import BUCKET, Plan
from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from plugyard.infrastructure.postgres.urls import Urls

_LOOKED_AT_EVERY_S = 0.1
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Shape:
    """How many of each there are, and where the balancer listens (0: a free port)."""

    replicas: int = 2
    workers: int = 2
    relays: int = 1
    port: int = 0


@dataclass
class Stack:
    """The parts by name; ``postgres`` is a part of its own kind."""

    folder: Path
    shape: Shape = field(default_factory=Shape)
    parts: dict[str, Part] = field(default_factory=dict)
    flags: tuple[str, ...] = ()  # of every replica, beside what the stack itself tells it
    revive_after_s: float = 0.0  # how long what has ended stays so
    _postgres: EmbeddedPostgres | None = None
    _watching: asyncio.Task[None] | None = None

    @property
    def plan(self) -> Plan:
        """Ports and secrets."""
        shape = self.shape
        numbers = {"replica": shape.replicas, "worker": shape.workers, "relay": shape.relays}
        return Plan.of(self.folder, numbers, shape.port)

    @property
    def url(self) -> str:
        """Where callers go."""
        return self.parts["nginx"].at

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The database; raises ``CannotRun`` before it was started."""
        if self._postgres is None:
            raise CannotRun("PostgreSQL was not started")
        return self._postgres

    async def start(self, progress: Progress = lambda sentence: None) -> None:
        """Start everything; raises ``CannotRun`` with what is wrong. What was started is taken down then."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        try:
            await self._start(progress)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, progress: Progress) -> None:
        plan, shape = self.plan, self.shape
        database = self.folder / "database"
        database.mkdir(exist_ok=True)
        database.chmod(0o755)
        self._postgres = EmbeddedPostgres(database)
        progress("PostgreSQL")
        urls = await self._postgres.start()
        await migrate_urls(urls)
        await self._add(progress, servers.valkey(plan, self.folder), servers.seaweed(plan, self.folder))
        await self._add(progress, servers.broker(plan, self.folder))
        settings = environment(plan, urls)

        def ours(kind: str, count: int, *words: str) -> list[Part]:
            names = [f"{kind} {number}" for number in range(1, count + 1)]
            return [servers.plugyard(plan, name, list(words), self.folder, settings) for name in names]

        await self._add(
            progress,
            *ours("replica", shape.replicas, "serve", "--queue-workers", "0" if shape.workers else "16", *self.flags),
            *ours("worker", shape.workers, "worker"),
            *ours("relay", shape.relays, "relay"),
        )
        await self._add(progress, servers.nginx(plan, self.folder, shape.replicas))
        self._watching = asyncio.create_task(self._watch())

    async def _add(self, progress: Progress, *parts: Part) -> None:
        """Start parts that know nothing of each other side by side."""
        progress(", ".join(part.name for part in parts))
        self.parts.update({part.name: part for part in parts})
        starting = [asyncio.ensure_future(part.start()) for part in parts]
        try:
            await asyncio.gather(*starting)
        finally:
            for one in starting:
                one.cancel()

    async def _watch(self) -> None:
        """What ends by itself is started again, as whoever runs a cluster would have it."""
        ended: dict[str, float] = {}
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(_LOOKED_AT_EVERY_S)
            for name, part in self.parts.items():
                if part.running or not part.wanted:
                    ended.pop(name, None)
                elif clock() - ended.setdefault(name, clock()) >= self.revive_after_s:
                    part.launch()
            if not self.postgres.running:
                await self.postgres.restart()

    async def stop(self) -> None:
        """Take everything down, the callers' side first."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for name in reversed(self.parts):
            await self.parts[name].stop()
        if self._postgres is not None:
            await self._postgres.stop()


def environment(plan: Plan, urls: Urls) -> dict[str, str]:
    """What every replica, worker and relay is told."""
    return {
        "PLUGYARD_PROFILE": "production",
        "PLUGYARD_DATABASE_URL": urls.service_url,
        "PLUGYARD_PLUGINS_DATABASE_URL": urls.keeper_url,
        "PLUGYARD_PEPPER": plan.pepper,
        "PLUGYARD_ADMIN_KEY": plan.admin_key,
        "PLUGYARD_OPERATOR_KEY": plan.operator_key,
        "PLUGYARD_SECRET_KEYS": plan.secret_key,
        "PLUGYARD_OBJECTS_URL": f"s3://{BUCKET}/service",
        "PLUGYARD_OBJECTS_ENDPOINT": f"http://{plan.at('seaweed s3')}",
        "PLUGYARD_OBJECTS_ACCESS_KEY_ID": plan.s3_access_key,
        "PLUGYARD_OBJECTS_SECRET_ACCESS_KEY": plan.s3_secret_key,
        "PLUGYARD_CACHE_URL": f"valkey://:{plan.valkey_password}@{plan.at('valkey')}/0",
        "PLUGYARD_KAFKA_URL": plan.at("broker"),
        "PLUGYARD_PROXIES_TRUSTED": "127.0.0.0/8",
        "PLUGYARD_LOG_FORMAT": "json",
    }
