"""Four hosts on one machine: network namespaces on a bridge, each with an address of its own, and the stack on them.

`benchmarks.hosts` measures on them. What they share is the kernel, its cores, and the programs on disk.

    balancer       nginx
    app1, app2     a replica, a worker and a relay each, with data folders of their own
    data           PostgreSQL, Valkey, SeaweedFS, the broker
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from plugyard.bootstrap.databases import migrate_urls
from plugyard.bootstrap.keys import write_private
from plugyard.bootstrap.stack import servers
from plugyard.bootstrap.stack.parts import Part
from plugyard.bootstrap.stack.plan import Plan
from plugyard.bootstrap.stack.running import environment
from plugyard.infrastructure.embedded import server as embedded
from plugyard.infrastructure.postgres.urls import Urls

PREFIX = "plugyard-"
BRIDGE = "pyhosts0"
NETWORK = "10.213.77"
ADDRESSES = {"balancer": 10, "app1": 11, "app2": 12, "data": 20}
HOST_OF = {
    "nginx": "balancer",
    **dict.fromkeys(("database", "valkey", "seaweed s3", "broker"), "data"),
    **{f"{kind} {number}": f"app{number}" for kind in ("replica", "worker", "relay") for number in (1, 2)},
}
# A balancer whose kernel waits for a quarter of an hour lets its callers wait as long for a host that has gone.
BALANCER = {"tcp_keepalive_time": 2, "tcp_keepalive_intvl": 1, "tcp_keepalive_probes": 3, "tcp_retries2": 4}
_ROOT = Path(__file__).resolve().parents[1]


class Missing(Exception):
    """This machine lacks what the four hosts need; the message says what."""


def address(host: str) -> str:
    """Where a host is on the bridge."""
    return f"{NETWORK}.{ADDRESSES[host]}"


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"`ip {' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout


def link(host: str, state: str) -> None:
    """Cut a host off (`down`), or connect it again (`up`)."""
    _ip("link", "set", f"py-{host}", state)


def look() -> None:
    """Raises ``Missing`` where this machine cannot have the hosts."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise Missing("network namespaces need root and the program `ip` of iproute2")


def make_network() -> None:
    """Make the bridge and the hosts; raises ``Missing``. What an earlier run left is removed first."""
    remove_network()
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    for host in ADDRESSES:
        name = PREFIX + host
        _ip("netns", "add", name)
        _ip("link", "add", f"py-{host}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", f"py-{host}", "master", BRIDGE, "up")
        _ip("-n", name, "address", "add", f"{address(host)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")
    for setting, value in BALANCER.items():
        inside = f"echo {value} > /proc/sys/net/ipv4/{setting}"
        _ip("netns", "exec", f"{PREFIX}balancer", "sh", "-c", inside)


def remove_network() -> None:
    """Remove the hosts with whatever runs in them, and the bridge; nothing of it needs to be there."""
    there = {line.split()[0] for line in _ip("netns", "list").splitlines() if line}
    for host in ADDRESSES:
        name = PREFIX + host
        if name in there:
            for pid in _ip("netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _ip("netns", "delete", name)
        with contextlib.suppress(Missing):
            _ip("link", "delete", f"py-{host}")
    with contextlib.suppress(Missing):
        _ip("link", "delete", BRIDGE)


@dataclass
class Hosts:
    """The parts of the stack on the four hosts, by name; ``urls`` are the database's, on its host's address."""

    folder: Path
    parts: dict[str, Part] = field(default_factory=dict)
    urls: Urls | None = None

    async def start(self) -> Plan:
        """Start everything in the order of need; raises ``CannotRun`` or ``Missing``."""
        self.folder.chmod(0o755)
        make_network()
        hosts = {part: address(host) for part, host in HOST_OF.items()}
        plan = replace(Plan.of(self.folder, {"replica": 2, "worker": 2, "relay": 2}, 0), hosts=hosts)
        await self._add(self._database())
        self.urls = urls = Urls(**json.loads((self.folder / "urls.json").read_text()))
        await self._add(servers.valkey(plan, self.folder), servers.seaweed(plan, self.folder))
        await self._add(servers.broker(plan, self.folder))
        told = {**environment(plan, urls), "PLUGYARD_PROXIES_TRUSTED": f"{address('balancer')}/32"}
        for kind, words in (
            ("replica", ["serve", "--queue-workers", "0"]),
            ("worker", ["worker"]),
            ("relay", ["relay"]),
        ):
            names = [f"{kind} {number}" for number in (1, 2)]
            await self._add(*(servers.plugyard(plan, name, words, self.folder, told) for name in names))
        await self._add(servers.nginx(plan, self.folder, 2))
        return plan

    async def _add(self, *parts: Part) -> None:
        for part in parts:
            print(f"starting {part.name}", file=sys.stderr)
            host = HOST_OF["seaweed s3" if part.name == "s3" else part.name]
            part.prefix = ("ip", "netns", "exec", PREFIX + host)
            self.parts[part.name] = part
        await asyncio.gather(*(part.start() for part in parts))

    def _database(self) -> Part:
        folder, said = self.folder / "database", self.folder / "urls.json"
        folder.mkdir(mode=0o755)

        async def ready() -> bool:
            return said.exists()

        at = f"postgresql://{address('data')}"
        command = [sys.executable, "-m", "benchmarks.fourhosts", str(folder), address("data"), str(said)]
        return Part("database", command, self.folder / "database.log", ready, at, {"PYTHONPATH": str(_ROOT)})

    def balance(self, plan: Plan, replicas: int) -> None:
        """Have nginx pass requests to so many of the replicas."""
        servers.nginx(plan, self.folder, replicas)
        self.parts["nginx"].send(signal.SIGHUP)

    async def stop(self) -> None:
        """Take everything down, whatever there is of it."""
        try:
            for part in reversed(self.parts.values()):
                await part.stop()
        finally:
            remove_network()


async def _serve_database(folder: Path, own: str, said: Path) -> None:
    """The embedded PostgreSQL, which by itself is on loopback alone, on the address of its host as well."""
    settings = {"listen_addresses": f"127.0.0.1,{own}", "max_connections": "200"}
    embedded._SETTINGS.update(settings)  # the service has no such setting, and needs none
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = embedded.EmbeddedPostgres(folder)
    urls = await server.start()
    try:
        await migrate_urls(urls)
        with (folder / "postgres" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK}.0/24 scram-sha-256\n")
        os.kill(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)
        there = {
            "owner_url": urls.owner_url or "",
            "service_url": urls.service_url,
            "keeper_url": urls.keeper_url,
        }
        write_private(said, json.dumps({name: url.replace("@127.0.0.1:", f"@{own}:") for name, url in there.items()}))
        await ended.wait()
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(_serve_database(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
