"""Measures the service under loads that are meant to hurt, and prints what was measured beside what is promised.

    uv run python -m benchmarks.load                       # crowd, neighbour and floods; some minutes
    uv run python -m benchmarks.load crowd --json
    uv run python -m benchmarks.load soak --minutes 60     # mixed load with random kills

Each scenario starts a service of its own. The load generator runs in this process, on the same cores.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import psutil
import uvloop

from benchmarks.service import Service, many_callers, one_caller, plugin

MB = 1 << 20
Show = Callable[[str, str, str], None]


@dataclass
class Tenant:
    """A tenant beside the first, with a key of its own."""

    service: Service
    key: str

    def upload(self, package: bytes) -> str:
        """The id of a plugin that is uploaded and activated."""
        answer = httpx.post(
            f"{self.service.url}/api/v1/plugins/upload",
            headers={"Authorization": f"Bearer {self.key}"},
            files={"package": ("p.zip", package, "application/zip")},
            data={"activate": "true"},
            timeout=120,
        )
        if answer.status_code != 201:
            raise SystemExit(answer.text)
        return str(answer.json()["plugin"]["id"])


@contextlib.contextmanager
def running(*flags: str, module: str = "plugyard.cli") -> Iterator[Service]:
    """A service that is ended and removed whatever happens."""
    service = Service(*flags, module=module)
    service.start()
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()
        service.remove()


def tenant_of(service: Service, slug: str) -> Tenant:
    """Make a tenant and an admin's key for it, as an operator does."""
    operator = json.loads((service.data / "keys.json").read_text())["operator"]
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {operator}"}, timeout=30) as client:
        made = client.post("/api/v1/tenants", json={"slug": slug, "name": slug})
        if made.status_code != 201:
            raise SystemExit(made.text)
        key = client.post("/api/v1/keys", json={"name": "bench", "role": "admin"}, headers={"Plugyard-Tenant": slug})
    if key.status_code != 201:
        raise SystemExit(key.text)
    return Tenant(service, str(key.json()["secret"]))


class Asking:
    """Many executions at once over one client; each answer is looked at."""

    def __init__(self, url: str, key: str) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self.client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120, limits=limits
        )

    async def execute(self, plugin_id: str, function: str, given: Any = None, **more: Any) -> dict[str, Any]:
        answer = await self.client.post(
            f"/api/v1/plugins/{plugin_id}/execute", json={"function": function, "input": given, **more}
        )
        return {"http": answer.status_code, **answer.json()}


# --- crowd ---

WAITING = """
async def wait(input, context):
    answer = await context.services.http.get(input)
    return answer.status
"""


class Slow(asyncio.Protocol):
    """A server that answers each request after a second, and knows how many wait."""

    waiting = 0
    most = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if b"\r\n\r\n" in data:
            Slow.waiting += 1
            Slow.most = max(Slow.most, Slow.waiting)
            asyncio.get_running_loop().call_later(1.0, self.answer)

    def answer(self) -> None:
        Slow.waiting -= 1
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def environments_of(service: Service) -> list[psutil.Process]:
    """The environments that hold a plugin or wait for one: what the zygotes forked."""
    found = []
    for process in psutil.Process(service.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "plugyard.sandbox.inside" in " ".join(process.cmdline()) and not process.children():
                found.append(process)
    return found


def private_mb(process: psutil.Process) -> float:
    """Memory that is this process's alone and was written to (Private_Dirty), in MB."""
    with open(f"/proc/{process.pid}/smaps_rollup") as text:
        return next(int(line.split()[1]) for line in text if line.startswith("Private_Dirty")) / 1024


async def _crowd(
    service: Service, listener: socket.socket, plugin_id: str, count: int, show: Show, label: str, bound: str
) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Slow, sock=listener.dup(), backlog=1024)
    Slow.most = Slow.waiting = 0
    url = f"http://slow.bench.test:{listener.getsockname()[1]}/"
    callers = await asyncio.gather(*(service.caller(plugin_id, "wait", url).open() for _ in range(count)))
    began = time.perf_counter()
    await asyncio.gather(*(caller.call() for caller in callers))
    took = time.perf_counter() - began
    for caller in callers:
        caller.close()
    server.close()
    show(f"{label}: all done", f"{took:.2f} s", bound)
    show(f"{label}: waited on http at once", str(Slow.most), "")


def private_memory(service: Service, show: Show) -> None:
    """What each environment that has waited holds; a guest's memory never shrinks, so it is what it held then."""
    memory = [private_mb(one) for one in environments_of(service)]
    show("environments", str(len(memory)), "")
    show("private memory each, median", f"{statistics.median(memory):.1f} MB", "12 MB")
    show("private memory each, most", f"{max(memory):.1f} MB", "12 MB")


def crowd(show: Show) -> None:
    """100 executions at once that each wait a second on an http call, cold and warm; then 300."""
    with running("--network-allowed", "127.0.0.0/8", module="benchmarks.named") as service:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        permission = {"service": "network", "hosts": [f"slow.bench.test:{listener.getsockname()[1]}"]}
        package = plugin("crowd", code=WAITING, security={"permissions": [permission]})
        plugin_id = service.upload(package)
        uvloop.run(_crowd(service, listener, plugin_id, 1, lambda *_: None, "", ""))
        time.sleep(1)
        uvloop.run(_crowd(service, listener, plugin_id, 100, show, "100 at once, cold", "2 s"))
        uvloop.run(_crowd(service, listener, plugin_id, 100, show, "100 at once, warm", "2 s"))
        private_memory(service, show)
        uvloop.run(_crowd(service, listener, plugin_id, 300, show, "300 at once", "all"))


# --- neighbour ---

LOOP = "def spin(input, context):\n    while True:\n        pass\n"


async def _besieged(service: Service, loud: Tenant, loop_id: str, quiet_id: str) -> list[float]:
    asking = Asking(service.url, loud.key)
    ends = asyncio.Event()

    async def spin() -> None:
        while not ends.is_set():
            answer = await asking.execute(loop_id, "spin", None, timeoutMs=3000)
            if answer.get("status") != "timed_out":
                raise SystemExit(str(answer))

    spinning = [asyncio.create_task(spin()) for _ in range(8)]
    await asyncio.sleep(2)
    samples = await one_caller(partial(service.caller, quiet_id), 1500)
    ends.set()
    await asyncio.gather(*spinning)
    await asking.client.aclose()
    return samples


def neighbour(show: Show) -> None:
    """A tenant with 8 endless loops, and what another tenant's calls take meanwhile."""
    # Or the plugin would be suspended for its failures, and its callers refused.
    with running("--suspend-minimum", "1000000") as service:
        loud = tenant_of(service, "loud")
        loop_id = loud.upload(plugin("endless", code=LOOP))
        quiet_id = service.upload(plugin("quiet"))
        ratios = []
        for _ in range(3):
            alone = statistics.quantiles(uvloop.run(one_caller(partial(service.caller, quiet_id), 1500)), n=100)[94]
            samples = uvloop.run(_besieged(service, loud, loop_id, quiet_id))
            beside = statistics.quantiles(samples, n=100)[94]
            ratios.append(beside / alone)
            show("warm p95 alone, and beside 8 endless loops", f"{alone:.2f} ms, {beside:.2f} ms", "")
        show("ratio, median of 3", f"{statistics.median(ratios):.2f}", "3")


# --- floods ---

FLOODS = """
import os

def memory(input, context):
    held = []
    while True:
        held.append(bytearray(1 << 20))

def fork(input, context):
    return os.fork()

def logs(input, context):
    for number in range(5_000):
        context.services.logger.info("x" * 1000, number=number)
    return "logged"

async def calls(input, context):
    for number in range(5_000):
        await context.services.cache.set(str(number), "x" * 1000)
"""


async def _floods(service: Service, plugin_id: str, quiet_id: str, show: Show) -> None:
    asking = Asking(service.url, service.key)
    process = psutil.Process(service.process.pid)
    wrong = 0
    for function in ("memory", "fork", "logs", "calls"):
        await asking.execute(plugin_id, function)
    await asyncio.sleep(1)
    began = process.memory_info().rss
    for function in ("memory", "fork", "logs", "calls"):
        outcomes: Counter[str] = Counter()
        for number in range(50):
            flood, beside = await asyncio.gather(
                asking.execute(plugin_id, function, timeoutMs=10_000),
                asking.execute(quiet_id, "add", {"a": number, "b": 1}),
            )
            outcomes[f"{flood.get('status')}, {(flood.get('error') or {}).get('code')}"] += 1
            wrong += beside.get("output") != number + 1
        grown = (process.memory_info().rss - began) / MB
        show(f"{function}, 50 in a row", str(dict(outcomes)), "")
        show(f"{function}: service's memory since it began", f"{grown:+.1f} MB", "32 MB")
    show("wrong answers to others meanwhile", str(wrong), "0")
    await asking.client.aclose()


def floods(show: Show) -> None:
    """A memory bomb, a fork attempt, a log flood and a service-call flood, each 50 times in a row."""
    # Or the plugin would be suspended for its failures before it had flooded often enough.
    with running("--suspend-minimum", "1000000") as service:
        flooding = service.upload(
            plugin("flooding", code=FLOODS, security={"permissions": ["cache"], "resourceLimits": {"memory": 64}})
        )
        uvloop.run(_floods(service, flooding, service.upload(plugin("quiet")), show))


# --- soak ---

MIXED = """
import asyncio

def add(input, context):
    return input["a"] + input["b"]

def fail(input, context):
    raise ValueError("on purpose")

async def remember(input, context):
    # The cache is the plugin's and not the call's, so each call has a key of its own.
    await context.services.cache.set(context.execution_id, input["a"], ttl_seconds=5)
    return await context.services.cache.get(context.execution_id)

async def nap(input, context):
    await asyncio.sleep(0.05)
    return input["a"]
"""
# What may be answered where a process of the sandbox was killed: the execution that ran in it is lost with it.
_EXCUSED = {"crashed", "sandbox_unavailable", "gate_unavailable", "overloaded"}


@dataclass
class Count:
    """What processes, descriptors and memory the service has."""

    processes: int
    descriptors: int
    memory_mb: float

    @classmethod
    def of(cls, service: Service) -> "Count":
        process = psutil.Process(service.process.pid)
        return cls(len(process.children(recursive=True)), process.num_fds(), process.memory_info().rss / MB)


async def _soak(service: Service, ids: list[str], minutes: float, show: Show) -> None:
    asking = Asking(service.url, service.key)
    answers: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    ends = time.monotonic() + minutes * 60
    chance = random.Random(11)
    stopping = asyncio.Event()

    killed_at = 0.0

    def judge(function: str, number: int, began: float, answer: dict[str, Any]) -> str:
        if answer["http"] == 200 and answer["status"] == "succeeded":
            wanted = 2 * number if function == "add" else number
            return "right" if function != "fail" and answer["output"] == wanted else "WRONG"
        code = answer.get("code") or (answer.get("error") or {}).get("code")
        if function == "fail" and answer.get("status") == "failed" and code == "plugin_error":
            return "right"
        # Only what ran while something was killed, or right behind it, may have been lost with it.
        excused = code in _EXCUSED and killed_at > began - 1
        return f"lost with what was killed: {code}" if excused else f"WRONG: {answer}"

    async def call() -> None:
        while not stopping.is_set():
            function = chance.choices(("add", "fail", "remember", "nap"), (6, 1, 2, 2))[0]
            number = chance.randrange(1_000_000)
            given = {"a": number, "b": number}
            began = time.monotonic()
            answer = await asking.execute(chance.choice(ids), function, given)
            answers[judge(function, number, began, answer)] += 1

    async def kill() -> None:
        nonlocal killed_at
        while not stopping.is_set():
            await asyncio.sleep(chance.uniform(0.5, 2.0))
            children = psutil.Process(service.process.pid).children(recursive=True)
            victims: dict[str, list[psutil.Process]] = {"environment": [], "zygote": [], "gate": []}
            for one in children:
                with contextlib.suppress(psutil.Error):
                    words = " ".join(one.cmdline())
                    if "plugyard.sandbox.inside" in words or "plugyard.gate.inside" in words:
                        kind = "gate" if "gate" in words else "zygote" if one.children() else "environment"
                        victims[kind].append(one)
            kind = chance.choices(("environment", "zygote", "gate"), (17, 2, 1))[0]
            if victims[kind]:
                with contextlib.suppress(psutil.Error):
                    chance.choice(victims[kind]).send_signal(signal.SIGKILL)
                    killed_at = time.monotonic()
                    kills[kind] += 1

    callers = [asyncio.create_task(call()) for _ in range(12)]
    await asyncio.sleep(min(20, minutes * 20))
    before = Count.of(service)
    killing = asyncio.create_task(kill())
    await asyncio.sleep(max(0.0, ends - time.monotonic()))
    stopping.set()
    await asyncio.gather(*callers, killing)
    await asking.client.aclose()
    await asyncio.sleep(7)
    after = Count.of(service)
    wrong = sum(count for name, count in answers.items() if name.startswith("WRONG"))
    show("answers", f"{sum(answers.values()):,}", "")
    show("wrong answers", str(wrong), "0")
    for name, count in answers.most_common(12):
        show(f"  {name[:200]}", f"{count:,}", "")
    show("killed", ", ".join(f"{count} {kind}s" for kind, count in kills.items()), "")
    show("processes, after warm-up and at the end", f"{before.processes}, {after.processes}", "no more")
    show("descriptors", f"{before.descriptors}, {after.descriptors}", "no more")
    show("service's memory", f"{before.memory_mb:.0f} MB, {after.memory_mb:.0f} MB", "")


def soak(show: Show, minutes: float) -> None:
    """Mixed load with random kills of environments and zygotes."""
    with running() as service:
        permissions = {"permissions": ["cache"]}
        ids = [service.upload(plugin(f"mixed-{number}", code=MIXED, security=permissions)) for number in range(6)]
        uvloop.run(_soak(service, ids, minutes, show))


def burst(show: Show) -> None:
    """32 callers of one plugin, for a quick look at whether a change cost speed."""
    with running() as service:
        plugin_id = service.upload(plugin("burst"))
        rate, samples = uvloop.run(many_callers(partial(service.caller, plugin_id), 32, 4))
        show("32 callers", f"{rate:,.0f} executions/s", "2,500/s")
        show("32 callers: p95", f"{statistics.quantiles(samples, n=100)[94]:.1f} ms", "")


def main() -> None:
    """Run the scenarios that are named, or all but the long one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", default=["crowd", "neighbour", "floods"])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the soak lasts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args()
    rows: list[dict[str, str]] = []

    def show(name: str, value: str, bound: str) -> None:
        rows.append({"figure": name, "measured": value, "bound": bound})
        if not asked.json:
            print(f"{name:56} {value:>34}   {bound}", flush=True)

    scenarios: dict[str, Callable[[Show], None]] = {
        "crowd": crowd,
        "neighbour": neighbour,
        "floods": floods,
        "burst": burst,
        "soak": partial(soak, minutes=asked.minutes),
    }
    for name in asked.scenario:
        if name not in scenarios:
            parser.error(f"there is no scenario {name!r}; there are {', '.join(scenarios)}")
    for name in asked.scenario:
        scenarios[name](show)
    if asked.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
