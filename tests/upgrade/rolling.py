"""Two replicas behind nginx and a worker, on real servers, whose code is replaced one by one while callers go on."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from obstore.store import S3Store

from plugyard.bootstrap.stack import servers
from plugyard.bootstrap.stack.parts import CannotRun, Part
from plugyard.bootstrap.stack.plan import BUCKET, Plan, free_ports
from plugyard.bootstrap.stack.running import environment
from plugyard.infrastructure.embedded.roles import SUPERUSER
from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from plugyard.infrastructure.postgres.urls import Urls
from tests.upgrade.audit import Verdict, judged, read, schema_of, waiting
from tests.upgrade.checkouts import Checkout
from tests.upgrade.load import Load

PARTS = ("replica 1", "worker 1", "replica 2")
STARTS_WITHIN_S = 300.0  # code that was never started here builds its guests first
ENDS_WITHIN_S = 40.0
MIXED_S = 4.0  # how long old and new code serve beside each other after each replacement
WORKED_OFF_WITHIN_S = 90.0
_LOOKED_EVERY_S = 0.05
Progress = Callable[[str], None]


@dataclass
class Step:
    """What callers saw while something was done; ``wrong`` is what did not go as it has to."""

    name: str
    requests: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    longest_kind: str = ""
    took_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Report:
    """All of it."""

    steps: list[Step] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    crossed: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether no request failed, nothing was lost or there twice, and every step went as it has to."""
        return self.verdict.good and not self.failures and not any(step.wrong for step in self.steps)


class Cluster:
    """The servers, and the three parts whose code is replaced; ``open`` one, and all of it ends with the block."""

    def __init__(self, folder: Path, old: Checkout, new: Checkout, progress: Progress) -> None:
        self.folder, self.old, self.new, self._progress = folder, old, new, progress
        self.plan = Plan.of(folder, {"replica": 2, "worker": 1, "refused": 1}, 0)
        self.code = dict.fromkeys(PARTS, old)
        self.superuser_url = ""
        self.owner: dict[str, str] = {}
        self._settings: dict[str, str] = {}
        self._parts: dict[str, Part] = {}
        self._postgres = EmbeddedPostgres(folder / "database")

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Cluster"]:
        """Start everything with the old code, which makes the schema; raises ``CannotRun``."""
        async with AsyncExitStack() as ends:
            database = self.folder / "database"
            database.mkdir()
            database.chmod(0o755)
            ends.push_async_callback(self._postgres.stop)
            await self._postgres.start()
            password = json.loads((database / "postgres.secrets").read_text())["superuser"]
            server = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self._postgres.port}"
            self.superuser_url = f"{server}/plugyard"
            await self._prepare(f"{server}/postgres")
            ends.push_async_callback(self._stop)
            await self._start(servers.valkey(self.plan, self.folder), servers.seaweed(self.plan, self.folder))
            await self._start(*(self._part(name, self.old) for name in PARTS))
            await self._start(servers.nginx(self.plan, self.folder, 2))
            yield self

    async def _prepare(self, superuser_url: str) -> None:
        said = await self.old.run("database", "prepare", "--superuser-url", superuser_url, "--json", environment={})
        if said.status:
            raise CannotRun(f"the old code does not prepare the database:\n{said.text}")
        urls = json.loads(said.text)
        self._settings = environment(self.plan, Urls(None, "", ""))
        # Nobody carries events on here, and nobody forgets them: the audit finds them in the outbox.
        del self._settings["PLUGYARD_KAFKA_URL"]
        self._settings["PLUGYARD_RELAY_ELSEWHERE"] = "true"
        self.owner = {"PLUGYARD_DATABASE_OWNER_URL": urls.pop("PLUGYARD_DATABASE_OWNER_URL")}
        self._settings.update(urls)
        if wrong := await self.migrate(self.old):
            raise CannotRun(f"the old code does not migrate:\n{wrong}")

    async def migrate(self, code: Checkout, phase: str = "before", notes: list[str] | None = None) -> str:
        """Run a phase; what is wrong, or nothing. ``notes`` take what it said."""
        said = await code.run("migrate", "--phase", phase, environment={**self._settings, **self.owner})
        if notes is not None:
            notes.append(f"{said.text} {said.took_s:.1f} s")
        return said.text if said.status else ""

    async def refused(self, code: Checkout, command: str) -> tuple[int, str]:
        """Start code as a service or a worker that may not migrate; how it ended and what it said last."""
        data = self.folder / "refused"
        data.mkdir(exist_ok=True)
        data.chmod(0o755)
        (port,) = free_ports(1)
        words = (command, "--host", "127.0.0.1", "--port", str(port), "--data", str(data))
        said = await code.run(*words, environment=self._settings, within_s=60)
        return said.status, said.text.splitlines()[-1] if said.text else ""

    async def replace(self, name: str, code: Checkout) -> list[str]:
        """End one with SIGTERM and start other code in its place; what did not go as it has to."""
        self._progress(f"{name}: {code.commit}")
        before, wrong = self._parts[name], []
        before.send(signal.SIGTERM)
        if not await _in_time(lambda: not before.running, ENDS_WITHIN_S):
            wrong.append(f"{name} did not end within {ENDS_WITHIN_S:.0f} s of SIGTERM")
        await before.stop(0.1)
        after = self._part(name, code)
        self._parts[name] = after
        try:
            await after.start(STARTS_WITHIN_S)
        except CannotRun as error:
            wrong.append(str(error))
        self.code[name] = code
        return wrong

    @property
    def serving(self) -> str:
        """Which code callers may meet: old, new, or both."""
        met = {self.code[name].path for name in PARTS if name.startswith("replica")}
        return "both" if len(met) > 1 else "new" if self.new.path in met else "old"

    @property
    def url(self) -> str:
        """Where callers go."""
        return self._parts["nginx"].at

    def packages(self) -> set[str]:
        """The digests of the packages that the bucket has."""
        bucket = S3Store(
            BUCKET,
            endpoint=f"http://{self.plan.at('seaweed s3')}",
            access_key_id=self.plan.s3_access_key,
            secret_access_key=self.plan.s3_secret_key,
            region="us-east-1",
            client_options={"allow_http": True},
        )
        paths = (one["path"] for page in bucket.list() for one in page)
        return {path.rpartition("/")[2] for path in paths if "packages/sha256/" in path}

    def _part(self, name: str, code: Checkout) -> Part:
        words = ["worker"] if name.startswith("worker") else ["serve", "--queue-workers", "0"]
        part = servers.plugyard(self.plan, name, words, self.folder, self._settings)
        # This installation's command, with the other's interpreter before it, which finds its own code.
        return replace(part, command=[*code.command(), *part.command[3:]])

    async def _start(self, *parts: Part) -> None:
        self._progress(f"starting {', '.join(part.name for part in parts)}")
        self._parts.update({part.name: part for part in parts})
        starting = [asyncio.ensure_future(part.start(STARTS_WITHIN_S)) for part in parts]
        try:
            await asyncio.gather(*starting)
        finally:
            for one in starting:
                one.cancel()

    async def _stop(self) -> None:
        for name in reversed(self._parts):
            await self._parts[name].stop()


class Upgrade:
    """The steps, one after the other, on a cluster under load."""

    def __init__(self, cluster: Cluster, load: Load, progress: Progress) -> None:
        self.cluster, self.load, self.report, self._progress = cluster, load, Report(), progress

    @asynccontextmanager
    async def _step(self, name: str, at_least_s: float = 0.0) -> AsyncIterator[Step]:
        self._progress(name)
        step, began = Step(name), time.monotonic()
        yield step
        await asyncio.sleep(max(0.0, began + at_least_s - time.monotonic()))
        now = time.monotonic()
        step.took_s = now - began
        step.requests, step.failed, step.longest_s, step.longest_kind = self.load.ledger.between(began, now)
        self.report.steps.append(step)

    async def carry_out(self, quiet_s: float) -> None:
        """All steps; ``quiet_s`` is how long each state is served in before the next change."""
        old, new, cluster = self.cluster.old, self.cluster.new, self.cluster
        async with self._step("old code", quiet_s):
            pass
        if old.head != new.head:
            async with self._step("new code on the old schema is refused") as step:
                await self._refusals(step)
        async with self._step("`plugyard migrate` of the new code; old code on the new schema", quiet_s) as step:
            step.wrong += filter(None, [await cluster.migrate(new, notes=step.notes)])
        await self._replaced("to the new code, one by one", new)
        async with self._step("new code", quiet_s):
            pass
        await self._replaced("back to the old code, one by one", old)
        async with self._step("old code, on what new code wrote", quiet_s) as step:
            # As a roll-back by the runbook may do: older code finds nothing to do, and leaves the schema.
            before = await asyncio.to_thread(schema_of, cluster.superuser_url)
            step.wrong += filter(None, [await cluster.migrate(old, notes=step.notes)])
            if await asyncio.to_thread(schema_of, cluster.superuser_url) != before:
                step.wrong.append("the old code's migrate changed the newer schema")
        await self._replaced("to the new code again, one by one", new)
        async with self._step("`plugyard migrate --phase after`; new code", quiet_s) as step:
            step.wrong += filter(None, [await cluster.migrate(new, "after", step.notes)])

    async def _refusals(self, step: Step) -> None:
        cluster = self.cluster
        before = await asyncio.to_thread(schema_of, cluster.superuser_url)
        for command in ("serve", "worker"):
            status, said = await cluster.refused(cluster.new, command)
            step.notes.append(f"{command}: {said}")
            needed = f"is at revision {cluster.old.head} and this code needs {cluster.new.head}"
            if status <= 0 or needed not in said:
                step.wrong.append(f"`plugyard {command}` ended with {status} and said: {said}")
        if await asyncio.to_thread(schema_of, cluster.superuser_url) != before:
            step.wrong.append("code that was refused changed the schema")

    async def _replaced(self, name: str, code: Checkout) -> None:
        async with self._step(name) as step:
            for part in PARTS:
                self.load.serving = "both"
                step.wrong += await self.cluster.replace(part, code)
                await asyncio.sleep(MIXED_S)
            self.load.serving = self.cluster.serving

    async def worked_off(self) -> None:
        """Wait until nothing is queued and every event was given to whoever hears."""
        for _ in range(int(WORKED_OFF_WITHIN_S / 0.5)):
            if not await asyncio.to_thread(waiting, self.cluster.superuser_url):
                return
            await asyncio.sleep(0.5)

    async def looked_for(self) -> None:
        """The audit, and what callers saw."""
        ledger, report = self.load.ledger, self.report
        objects = await asyncio.to_thread(self.cluster.packages)
        report.verdict = judged(ledger, await asyncio.to_thread(read, self.cluster.superuser_url, objects))
        report.crossed, report.failures = ledger.crossed, ledger.failures


async def _in_time(seen: Callable[[], bool], within_s: float) -> bool:
    """Whether it is seen within so long."""
    for _ in range(int(within_s / _LOOKED_EVERY_S)):
        if seen():
            return True
        await asyncio.sleep(_LOOKED_EVERY_S)
    return seen()


async def carried_out(
    folder: Path, old: Checkout, new: Checkout, rate: float, quiet_s: float, progress: Progress
) -> Report:
    """The whole upgrade and back; raises ``CannotRun`` where it cannot even begin."""
    async with Cluster(folder, old, new, progress).open() as cluster:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            load = Load(cluster.url, cluster.plan.admin_key, rate, session)
            await load.prepare()
            upgrade, enough = Upgrade(cluster, load, progress), asyncio.Event()
            running = asyncio.create_task(load.run(enough))
            try:
                await upgrade.carry_out(quiet_s)
            finally:
                enough.set()
                await running
        progress("looking for what was acknowledged")
        await upgrade.worked_off()
        await upgrade.looked_for()
        return upgrade.report
