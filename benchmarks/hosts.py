"""Measures the production stack on four hosts behind nginx, and cuts one of them off (`fourhosts.py`).

    uv run python -m benchmarks.hosts              # needs root; about three minutes
    uv run python -m benchmarks.hosts --json

The hosts are network namespaces of this machine, so all of them share its cores: what is shown is that nothing between
two replicas costs throughput, not that two machines do twice the work. The load comes from outside, over the bridge.
Ends with 1 where anything is not as promised, and with 2 where this machine cannot have the hosts. One run at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psycopg
import uvloop

from benchmarks.fourhosts import Hosts, Missing, link, look
from benchmarks.service import caller_of, many_callers
from plugyard.bootstrap.stack.parts import CannotRun
from plugyard.bootstrap.stack.plan import Plan
from tests.faults.load import Load, package

ADD = {"function": "add", "input": {"a": 1, "b": 2}}
SLOW_S = 4.0
SLOW = {"function": "add_slowly", "input": {"a": 1, "b": 2, "seconds": SLOW_S}}
FOLDER = "plugyard-hosts-"
CUT_S, BEFORE_S, AFTER_S = 20.0, 5.0, 20.0


@dataclass(frozen=True)
class Figure:
    """What was measured, beside its bound; `kept` is `None` where nothing is promised."""

    name: str
    measured: str
    bound: str = ""
    kept: bool | None = None


@dataclass
class Run:
    """The four hosts under measurement, with a client for each way in."""

    hosts: Hosts
    plan: Plan
    rounds: int
    show: Callable[[Figure], None]
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, part: str) -> httpx.AsyncClient:
        """Over the bridge, to one replica or to nginx."""
        headers = {"Authorization": f"Bearer {self.plan.admin_key}"}
        made = httpx.AsyncClient(base_url=self.hosts.parts[part].at, headers=headers, timeout=30, trust_env=False)
        self.clients.append(made)
        return made

    def shown(self, name: str, measured: str, bound: str = "", kept: bool | None = None) -> None:
        self.show(Figure(name, measured, bound, kept))


async def _uploaded(client: httpx.AsyncClient, name: str) -> str:
    files = {"package": ("p.zip", package(name, "1.0.0"))}
    answer = await client.post("/api/v1/plugins/upload", files=files, data={"activate": "true"})
    if answer.status_code != 201:
        raise SystemExit(answer.text)
    return str(answer.json()["plugin"]["id"])


async def _until(seen: Callable[[], Awaitable[bool]], within_s: float, every_s: float = 0.005) -> float:
    """Seconds until it was seen, or infinity."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if await seen():
            return time.monotonic() - began
        await asyncio.sleep(every_s)
    return float("inf")


async def every_part(run: Run) -> None:
    """Everything was found ready over the bridge; here each replica says what it finds of the others."""
    parts = run.hosts.parts.values()
    there = sum("127.0.0.1" not in part.at for part in parts)
    run.shown("parts found ready over the bridge", f"{there} of {len(parts)}", "all", there == len(parts))
    for name in ("replica 1", "replica 2"):
        found = (await run.client(name).get("/health/ready")).json()["parts"]
        fine = sum(word == "ok" for word in found.values())
        run.shown(f"{name} finds {', '.join(found)}", f"{fine} of {len(found)} ok", "all", fine == len(found))


async def elsewhere(run: Run) -> None:
    """What is uploaded at one replica executes at the other, and what changes at one is seen at the other."""
    clients = [run.client("replica 1"), run.client("replica 2")]
    first, changes = [], []
    for number in range(run.rounds * 2):
        here, there = clients[number % 2], clients[1 - number % 2]
        path = f"/api/v1/plugins/{await _uploaded(here, f'elsewhere-{number}')}"

        async def answers(status: int, there: httpx.AsyncClient = there, path: str = path) -> bool:
            return (await there.post(path + "/execute", json=ADD)).status_code == status

        first.append(await _until(partial(answers, 200), 5))
        for verb, status in (("deactivate", 409), ("activate", 200)):
            (await here.post(f"{path}/{verb}")).raise_for_status()
            changes.append(await _until(partial(answers, status), 5))
    run.shown(f"{len(first)} uploads at one replica executed at the other", f"at most {max(first) * 1e3:.0f} ms after",
              "1 s", max(first) < 1)  # fmt: skip
    run.shown(f"{len(changes)} changes at one replica seen at the other", f"at most {max(changes) * 1e3:.0f} ms after",
              "1 s", max(changes) < 1)  # fmt: skip


async def same_key(run: Run, plugin_id: str) -> None:
    """The same key at both replicas at once, and again: one execution."""
    clients = [run.client("replica 1"), run.client("replica 2")]

    async def asked(client: httpx.AsyncClient, key: str) -> str:
        while True:
            answer = await client.post(
                f"/api/v1/plugins/{plugin_id}/execute", json=ADD, headers={"Idempotency-Key": key}
            )
            if answer.status_code == 200:
                return str(answer.json()["executionId"])
            if answer.json()["code"] != "idempotency_in_progress":
                raise SystemExit(answer.text)
            await asyncio.sleep(0.02)

    executions: list[set[str]] = []
    for _ in range(run.rounds * 20):
        key = str(uuid.uuid4())
        executions.append({*await asyncio.gather(*(asked(one, key) for one in clients * 2))})
    once = sum(len(one) == 1 for one in executions)
    run.shown(f"{len(executions)} keys, each sent twice to both replicas at once", f"{once} executed once",
              "all", once == len(executions))  # fmt: skip


async def throughput(run: Run, plugin_id: str, seconds: float) -> None:
    """Executions a second behind nginx with one app host and with both, in turns."""
    make = partial(caller_of, run.hosts.parts["nginx"].at, run.plan.admin_key, plugin_id)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(run.rounds * 2):
        # Of two turns beside each other, now the one comes first and now the other.
        for replicas in (1, 2) if number % 2 else (2, 1):
            run.hosts.balance(run.plan, replicas)
            await asyncio.sleep(1)
            rates[replicas].append((await many_callers(make, 32, seconds))[0])
    one, both = (statistics.median(rates[replicas]) for replicas in (1, 2))
    ratio = statistics.median(b / a for a, b in zip(rates[1], rates[2], strict=True))
    turns = f"median of {len(rates[1])} turns of {seconds:.0f} s"
    run.shown(f"32 callers behind nginx, one app host, {turns}", f"{one:,.0f}/s")
    run.shown(f"32 callers behind nginx, both, {turns}", f"{both:,.0f}/s")
    run.shown("both beside one, median of the pairs", f"{ratio:.2f}", "0.9", ratio >= 0.9)


class Timed(Load):
    """The load of `tests.faults`, which also keeps how long each request took with all its tries (s)."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.took: list[tuple[float, float]] = []

    async def _request(self, kind: str) -> None:
        began = time.monotonic()
        await super()._request(kind)
        self.took.append((began, time.monotonic() - began))

    def longest(self, since: float, until: float) -> float:
        """Of the requests that began then, how long the slowest took (s)."""
        return max((took for began, took in self.took if since <= began < until), default=0.0)


async def cut_off(run: Run, plugin_id: str, rate: float) -> None:
    """App 1 is cut off under load, with executions under way that only it has."""
    first, second, balancer = run.client("replica 1"), run.client("replica 2"), run.client("nginx")
    path, own = f"/api/v1/plugins/{plugin_id}/execute", {"Idempotency-Key": "cut-off"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=400)) as session:
        load = Timed(run.hosts.parts["nginx"].at, run.plan.admin_key, plugin_id, rate, session)
        enough = asyncio.Event()
        loading = asyncio.create_task(load.run(enough))
        await asyncio.sleep(BEFORE_S)
        queued = [(await balancer.post(path, json={**SLOW, "mode": "async"})).json()["executionId"] for _ in range(8)]
        lost_with_it = asyncio.create_task(first.post(path, json=SLOW, headers=own))
        await asyncio.sleep(1)
        began = time.monotonic()
        link("app1", "down")
        try:
            takeover = asyncio.create_task(_taken_over(second, path, own))
            ending = asyncio.create_task(_ended(second, queued))
            await asyncio.sleep(CUT_S)
        finally:
            link("app1", "up")
        up = time.monotonic()

        async def serves() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return (await first.post(path, json=ADD, timeout=1)).status_code == 200
            return False

        back = await _until(serves, 60, 0.05)
        (answer, taken), ended = await takeover, await ending
        await asyncio.sleep(AFTER_S)
        enough.set()
        await loading
    lost_with_it.cancel()
    await asyncio.gather(lost_with_it, return_exceptions=True)
    _callers_saw(run, load, began, up)
    run.shown("app 1 executes again after its link is up", f"{back:.1f} s", "5 s", back <= 5)
    run.shown("what app 1 had under a key, taken over by app 2 after", f"{taken - began - SLOW_S:.1f} s",
              f"{CUT_S:.0f} s", taken < up)  # fmt: skip
    run.shown("8 queued executions, of which app 1 had some, ended after", f"{ended - began:.1f} s",
              f"{CUT_S:.0f} s", ended < up)  # fmt: skip
    again = [(await client.post(path, json=SLOW, headers=own)).json() for client in (first, second)]
    one = {found.get("executionId") for found in (answer, *again)}
    run.shown("its key answers alike at both afterwards", str(len(one) == 1).lower(), "true", len(one) == 1)
    acknowledged = [*load.ledger.executed.values(), *load.ledger.queued.values(), *queued]
    await _all_there(run, balancer, acknowledged)
    await _executed_twice(run)


def _callers_saw(run: Run, load: Timed, began: float, up: float) -> None:
    """What came of the load while the link was cut, and after."""
    ledger, now = load.ledger, time.monotonic()
    failed = ", ".join(f"{count} {code}" for code, count in sorted(ledger.failed_between(began, now).items()))
    cut = f"app 1 cut off for {CUT_S:.0f} s"
    asked = sum(began <= one < up for one, _ in load.took)
    run.shown(f"{cut}, {load.rate:.0f} requests a second: asked", f"{asked:,}")
    run.shown("answered otherwise, then tried again", failed or "none")
    run.shown("of it without a problem document", str(len(ledger.unclear)), "0", not ledger.unclear)
    run.shown("got through in no try within 40 s", str(len(ledger.abandoned)), "0", not ledger.abandoned)
    run.shown("longest until a good answer, begun before / meanwhile",
              f"{load.longest(began - BEFORE_S, began):.1f} s / {load.longest(began, up):.1f} s")  # fmt: skip
    last = max(0.0, (ledger.last_failure(up, now) or up) - up)
    run.shown("last failure after its link was up", f"{last:.1f} s", "5 s", last <= 5)
    run.shown("longest of what began after its link was up", f"{load.longest(up, now):.1f} s")


async def _taken_over(client: httpx.AsyncClient, path: str, own: dict[str, str]) -> tuple[dict[str, Any], float]:
    """Repeat a request under its key until it is answered: the answer, and when."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        answer = await client.post(path, json=SLOW, headers=own)
        if answer.status_code == 200:
            return answer.json(), time.monotonic()
        await asyncio.sleep(0.1)
    return {}, float("inf")


async def _ended(client: httpx.AsyncClient, executions: list[str]) -> float:
    """When all of them had succeeded."""
    waiting, ends = set(executions), time.monotonic() + 120
    while waiting and time.monotonic() < ends:
        for one in list(waiting):
            found = (await client.get(f"/api/v1/executions/{one}")).json()
            if found.get("status") == "succeeded":
                waiting.discard(one)
        await asyncio.sleep(0.2)
    return float("inf") if waiting else time.monotonic()


async def _all_there(run: Run, client: httpx.AsyncClient, executions: list[str]) -> None:
    """Ask for everything that was acknowledged; what was queued has a moment to end."""
    at_once = asyncio.Semaphore(16)

    async def there(one: str) -> bool:
        async with at_once:
            for _ in range(100):
                answer = await client.get(f"/api/v1/executions/{one}")
                if answer.status_code == 200 and answer.json()["status"] not in ("queued", "running"):
                    return True
                await asyncio.sleep(0.2)
        return False

    lost = [*await asyncio.gather(*map(there, executions))].count(False)
    run.shown(f"of {len(executions):,} acknowledged executions, asked for afterwards", f"{lost} lost", "0", not lost)


async def _executed_twice(run: Run) -> None:
    """The load names each request by its key, so that a key that was executed twice is seen in the records."""
    statement = (
        "select count(*) from (select from plugyard.plugin_executions where status = 'succeeded' "
        "and request_id ~ '^[0-9a-f-]{36}$' group by request_id having count(*) > 1) as twice"
    )
    owner = run.hosts.urls.owner_url if run.hosts.urls is not None else None
    async with await psycopg.AsyncConnection.connect(owner or "", options="-c plugyard.operator=on") as connection:
        row = await (await connection.execute(statement)).fetchone()
    run.shown("keys of the load executed twice, by app 1 unheard and by app 2", str(row[0] if row else "?"))


async def measure(folder: Path, show: Callable[[Figure], None], *, rounds: int, seconds: float, rate: float) -> None:
    """Start the hosts, measure everything, and remove them, however it ends."""
    hosts = Hosts(folder)
    own = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, lambda: own and own.cancel())
    run = None
    try:
        plan = await hosts.start()
        run = Run(hosts, plan, rounds, show)
        await every_part(run)
        await elsewhere(run)
        plugin_id = await _uploaded(run.client("nginx"), "measured")
        await same_key(run, plugin_id)
        await throughput(run, plugin_id, seconds)
        hosts.balance(plan, 2)
        await asyncio.sleep(1)
        await cut_off(run, plugin_id, rate)
    finally:
        for client in run.clients if run is not None else ():
            await client.aclose()
        await hosts.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each thing is tried")
    parser.add_argument("--seconds", type=float, default=5, help="length of a turn of the throughput")
    parser.add_argument("--rate", type=float, default=50, help="requests a second while a host is cut off")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(arguments)
    figures: list[Figure] = []

    def show(figure: Figure) -> None:
        figures.append(figure)
        if not asked.json:
            mark = "  MISSED" if figure.kept is False else ""
            print(f"{figure.name:72} {figure.measured:>24}   {figure.bound}{mark}", flush=True)

    try:
        look()
    except Missing as error:
        print(f"benchmarks.hosts cannot run here: {error}", file=sys.stderr)
        return 2
    for left in Path("/var/tmp").glob(f"{FOLDER}*"):
        # Of a run that was killed; its processes ended with it.
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir="/var/tmp"))
    try:
        uvloop.run(measure(folder, show, rounds=asked.rounds, seconds=asked.seconds, rate=asked.rate))
    except (Missing, CannotRun) as error:
        print(f"benchmarks.hosts cannot run here: {error}", file=sys.stderr)
        return 2
    except asyncio.CancelledError:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
    return 1 if any(figure.kept is False for figure in figures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
