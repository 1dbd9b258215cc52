"""Kills the parts of the stack one after the other under load, and writes what came of it. See the package."""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
from obstore.store import S3Store

from plugyard.bootstrap.stack.plan import BUCKET, Plan
from plugyard.bootstrap.stack.running import Shape, Stack
from plugyard.infrastructure.embedded.roles import SUPERUSER
from tests.faults.audit import Verdict, audited
from tests.faults.load import Load, package

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
RATE = 200.0
BEFORE_S, AFTER_S = 5.0, 12.0
BACK_WITHIN_S = 5.0
READ_WITHIN_S = 180.0
BEGIN, END = "<!-- table -->", "<!-- /table -->"


@dataclass
class Fault:
    """What happened around one kill; seconds."""

    name: str
    answered: int = 0
    failed: Counter[str] | None = None
    returned_s: float = 0.0
    back_s: float = 0.0

    @property
    def row(self) -> str:
        """A line of the table."""
        said = ", ".join(f"{count} `{code}`" for code, count in sorted((self.failed or Counter()).items())) or "none"
        return f"| {self.name} | {self.answered:,} | {said} | {self.returned_s:.1f} s | {self.back_s:.1f} s |"


def _zygote(stack: Stack) -> int:
    replica = psutil.Process(stack.parts["replica 1"].pid)
    return next(one.pid for one in replica.children() if "plugyard.sandbox.inside" in _words(one))


def _words(one: psutil.Process) -> list[str]:
    """Its command line; one that has just ended has none."""
    try:
        return one.cmdline()
    except psutil.Error:
        return []


def _postmaster(stack: Stack) -> psutil.Process:
    own = psutil.Process()
    return next(one for one in own.children() if "postgres" in Path("".join(_words(one)[:1])).name)


async def _kill_part(stack: Stack, name: str) -> Callable[[], Awaitable[bool]]:
    part = stack.parts[name]
    before = part.started
    part.send(signal.SIGKILL)

    async def returned() -> bool:
        return part.started > before and part.running and await part.ready()

    return returned


async def _kill_zygote(stack: Stack) -> Callable[[], Awaitable[bool]]:
    pid = _zygote(stack)
    psutil.Process(pid).send_signal(signal.SIGKILL)

    async def returned() -> bool:
        try:
            return _zygote(stack) != pid and await stack.parts["replica 1"].ready()
        except StopIteration:
            return False

    return returned


async def _end_postgres(stack: Stack, number: int) -> Callable[[], Awaitable[bool]]:
    before = _postmaster(stack)
    before.send_signal(number)

    async def returned() -> bool:
        try:
            return _postmaster(stack).pid != before.pid and await stack.parts["replica 2"].ready()
        except StopIteration:
            return False

    return returned


FAULTS: dict[str, tuple[str, Callable[[Stack], Awaitable[Callable[[], Awaitable[bool]]]]]] = {
    "replica": ("`kill -9` of a replica", lambda stack: _kill_part(stack, "replica 1")),
    "worker": ("`kill -9` of a worker", lambda stack: _kill_part(stack, "worker 1")),
    "relay": ("`kill -9` of the relay", lambda stack: _kill_part(stack, "relay 1")),
    "zygote": ("`kill -9` of a sandbox's zygote", _kill_zygote),
    "valkey": ("`kill -9` of Valkey", lambda stack: _kill_part(stack, "valkey")),
    "broker": ("`kill -9` of the broker", lambda stack: _kill_part(stack, "broker")),
    "s3": ("`kill -9` of S3", lambda stack: _kill_part(stack, "s3")),
    "postgres": ("a restart of PostgreSQL (SIGINT)", lambda stack: _end_postgres(stack, signal.SIGINT)),
    "postgres-killed": ("`kill -9` of PostgreSQL", lambda stack: _end_postgres(stack, signal.SIGKILL)),
}


async def _tried(stack: Stack, load: Load, name: str) -> Fault:
    title, strike = FAULTS[name]
    await asyncio.sleep(BEFORE_S)
    began = time.monotonic()
    returned = await strike(stack)
    while not await returned():
        if time.monotonic() - began > 120:
            raise SystemExit(f"{name} did not return within 120 s")
        await asyncio.sleep(0.05)
    back = time.monotonic()
    await asyncio.sleep(AFTER_S)
    now = time.monotonic()
    last = load.ledger.last_failure(began, now)
    answered = sum(began <= one[0] < now for one in load.ledger.answers)
    fault = Fault(
        title, answered, load.ledger.failed_between(began, now), back - began, max(0.0, (last or back) - back)
    )
    print(fault.row, file=sys.stderr)
    return fault


async def _drained(stack: Stack, superuser_url: str, within_s: float) -> None:
    """Wait until nothing is queued, and nothing is in the outbox."""
    import psycopg

    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as connection:
            statement = (
                "select (select count(*) from plugyard.outbox where published_at is null) + "
                "(select count(*) from plugyard.queued_executions where state in ('queued', 'parked', 'running'))"
            )
            row = await (await connection.execute(statement)).fetchone()
        if row is not None and row[0] == 0:
            return
        await asyncio.sleep(0.5)


def _arrived(bootstrap: str, wanted: set[str]) -> dict[str, set[str]]:
    """The ids of the events of each execution's end that the broker has; it is read until all that is wanted was there.

    The broker tells end offsets that are too low, so a reader that has come to what it took for the end begins again.
    """
    from tests.tansu import Reader

    # It hands on what it has when it has waited so long, or has much: a short wait makes it hand on little at a time.
    wait_ms = 500
    found: dict[str, set[str]] = defaultdict(set)
    ends = time.monotonic() + READ_WITHIN_S
    while not wanted <= found.keys() and time.monotonic() < ends:
        reader, quiet = Reader(bootstrap, "plugyard.events", wait_ms=wait_ms), 0
        while quiet < 10 and time.monotonic() < ends:
            quiet = 0 if reader.poll(1.0) else quiet + 1
            for one in reader.arrived:
                envelope = one.envelope
                if envelope["type"].endswith(("execution.completed", "execution.failed")):
                    found[envelope["data"]["executionId"]].add(envelope["id"])
            reader.arrived.clear()
            if wanted <= found.keys():
                break
        print(f"read {len(found):,} ends of {len(wanted):,}", file=sys.stderr)
        reader.close()
    return found


def _packages(plan: Plan) -> set[str]:
    """The digests of the packages that the bucket has."""
    bucket = S3Store(
        BUCKET,
        endpoint=f"http://127.0.0.1:{plan.ports['seaweed s3']}",
        access_key_id=plan.s3_access_key,
        secret_access_key=plan.s3_secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    paths = (one["path"] for page in bucket.list() for one in page)
    return {path.rpartition("/")[2] for path in paths if "packages/sha256/" in path}


async def _run(names: list[str], rate: float, folder: Path) -> tuple[list[Fault], Verdict, Load]:
    stack = Stack(folder, Shape())
    await stack.start(lambda part: print(f"starting {part}", file=sys.stderr))
    try:
        plan = stack.plan
        key = {"Authorization": f"Bearer {plan.admin_key}"}
        # The load itself bounds how many ask at a time; what waited for a connection would count as slow service.
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            form = aiohttp.FormData({"activate": "true"})
            form.add_field("package", package("adder", "1.0.0"), filename="p.zip")
            async with session.post(f"{stack.url}/api/v1/plugins/upload", data=form, headers=key) as answer:
                made = await answer.json()
            load = Load(stack.url, plan.admin_key, made["plugin"]["id"], rate, session)
            enough = asyncio.Event()
            running = asyncio.create_task(load.run(enough))
            await asyncio.sleep(5)
            faults = [await _tried(stack, load, name) for name in names]
            enough.set()
            await running
        secrets = json.loads((folder / "database" / "postgres.secrets").read_text())
        url = f"postgresql://{SUPERUSER}:{secrets['superuser']}@127.0.0.1:{stack.postgres.port}/plugyard"
        await _drained(stack, url, 60)
        wanted = {*load.ledger.executed.values(), *load.ledger.queued.values()}
        arrived = await asyncio.to_thread(_arrived, f"127.0.0.1:{plan.ports['broker']}", wanted)
        packages = await asyncio.to_thread(_packages, plan)
        return faults, audited(load.ledger, url, packages, arrived), load
    finally:
        await stack.stop()


def _written(faults: list[Fault], verdict: Verdict, load: Load) -> str:
    lines = [
        "| what happened | requests answered meanwhile | failures, by what they said | part back after | "
        "last failure after that |",
        "|---|---|---|---|---|",
        *(fault.row for fault in faults),
        "",
        f"Acknowledged and looked for afterwards: {verdict.executions:,} executions, {verdict.queued:,} queued ones, "
        f"{verdict.uploads:,} uploads, {verdict.events:,} events of their ends. Lost: {len(verdict.lost)}. "
        f"Recorded twice: {len(verdict.twice)}. Failures without a problem document: {len(load.ledger.unclear)}. "
        f"Requests that no try got through in 40 s: {len(load.ledger.abandoned)}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Kill, look, write; ends with status 1 where anything was lost, or back too late."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second")
    parser.add_argument("names", nargs="*", choices=[*FAULTS, []], help="which parts; by default all")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="plugyard-faults-"))
    folder.chmod(0o755)
    try:
        faults, verdict, load = asyncio.run(_run(asked.names or list(FAULTS), asked.rate, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = _written(faults, verdict, load)
    print(table)
    for kind, count in Counter(" ".join(one.split()[:3]) for one in verdict.lost).items():
        print(f"lost: {kind}: {count}")
    for wrong in (*verdict.lost[:20], *verdict.twice[:20], *load.ledger.unclear[:20], *load.ledger.abandoned[:20]):
        print("  " + wrong)
    if not asked.names:
        page = PAGE.read_text()
        head, tail = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
        PAGE.write_text(f"{head}\n{table}\n{tail}")
    late = [fault.name for fault in faults if fault.back_s > BACK_WITHIN_S]
    if late:
        print(f"back too late: {', '.join(late)}")
    raise SystemExit(0 if verdict.good and not late and not load.ledger.unclear else 1)


if __name__ == "__main__":
    main()
