"""The parts of the stack are on loopback, or on the hosts that a plan names."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from plugyard.bootstrap.stack import servers
from plugyard.bootstrap.stack.parts import Part
from plugyard.bootstrap.stack.plan import Plan
from plugyard.bootstrap.stack.running import environment
from plugyard.infrastructure.postgres.urls import Urls

URLS = Urls("postgresql://owner@db", "postgresql://service@db", "postgresql://keeper@db")
NAMES = {"nginx": "192.0.2.1", "valkey": "192.0.2.2", "seaweed s3": "192.0.2.3", "broker": "192.0.2.4"}
HOSTS = {**NAMES, "replica 1": "192.0.2.5"}


def _words(plan: Plan, folder: Path) -> str:
    told = environment(plan, URLS)
    parts = [
        servers.valkey(plan, folder),
        servers.seaweed(plan, folder),
        servers.broker(plan, folder),
        servers.plugyard(plan, "replica 1", ["serve"], folder, told),
        servers.nginx(plan, folder, 1),
    ]
    written = (folder / "nginx.conf").read_text()
    return "\n".join([*(f"{part.command} {part.environment} {part.at}" for part in parts), written])


def test_every_part_is_on_loopback_by_itself(tmp_path: Path) -> None:
    plan = Plan.of(tmp_path, {"replica": 1}, 0)
    assert plan.at("valkey") == f"127.0.0.1:{plan.ports['valkey']}"
    assert "192.0.2" not in _words(plan, tmp_path)


def test_a_part_with_a_host_listens_there_and_is_met_there(tmp_path: Path) -> None:
    plan = replace(Plan.of(tmp_path, {"replica": 1}, 0), hosts=HOSTS)
    words = _words(plan, tmp_path)
    assert all(plan.at(name) in words for name in ("nginx", "seaweed s3", "broker", "replica 1", "valkey"))
    assert words.replace("127.0.0.0/8", "").count("127.0.0.1") == 0


async def test_a_prefix_goes_before_the_command(tmp_path: Path) -> None:
    told = tmp_path / "told"

    async def ready() -> bool:
        return told.exists() and told.read_text() == "by the prefix"

    code = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(os.environ['TOLD']); time.sleep(60)"
    command = [sys.executable, "-c", code, str(told)]
    part = Part("told", command, tmp_path / "log", ready, prefix=("env", "TOLD=by the prefix"))
    await asyncio.wait_for(part.start(), 60)
    await part.stop()
