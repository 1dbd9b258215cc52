"""The admin's commands, against the service over a socket."""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from plugyard.application.ports import Outcome
from plugyard.cli import consent as commands
from plugyard.cli.author import upload as upload_command
from plugyard.cli.failure import Failure
from plugyard.cli.reach import Reach
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Role
from plugyard.domain.permissions import Service
from plugyard.domain.rights import Right
from tests.integration.http.service import KEYS, Http
from tests.memory.sandbox import USED

NETWORK = {"service": "network", "hosts": ["*.acme.com"], "reason": "asks for rates"}
WANTS = {"security": {"permissions": [NETWORK, {"service": "database", "reason": "keeps notes"}]}}


class Terminal:
    """Runs commands as an admin, and what they print."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url, self._capsys = url, capsys

    async def run(self, command: Callable[..., None], *given: str, role: Role = Role.ADMIN, **named: Any) -> str:
        self._capsys.readouterr()
        await asyncio.to_thread(command, *given, reach=Reach(self._url, KEYS[role]), **named)
        printed = self._capsys.readouterr().out.splitlines()
        # The service writes its log to the same place here.
        said = [line for line in printed if not re.match(r"\d{4}-\d\d-\d\d \d\d:", line)]
        return " ".join(" ".join(said).split())


async def uploaded(http: Http, admin: Any, version: str = "1.0.0", *, activate: bool = False, **fields: Any) -> str:
    files = {"package": ("p.zip", http.package("greeter", version, fields=fields, exports=("greet", "gone")))}
    answer = await admin.post("/api/v1/plugins/upload", files=files, data={"activate": str(activate).lower()})
    return str(answer.json()["plugin"]["id"])


async def test_install_shows_what_is_asked_and_why_and_consents(
    http: Http, admin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await uploaded(http, admin, **WANTS)
    async with http.served() as url:
        terminal = Terminal(url, capsys)
        with pytest.raises(Failure, match="nobody is here"):
            await terminal.run(commands.install, "greeter", as_json=True)
        said = await terminal.run(commands.install, "greeter", yes=True)
        assert "greeter is version 1.0.0 and asks for this:" in said
        assert "hosts *.acme.com" in said
        assert "asks for rates" in said
        assert "keeps notes" in said
        assert "greeter 1.0.0 is installed and holds this:" in said
        # It is installed, and nothing waits: the command shows what it holds.
        assert "holds this:" in await terminal.run(commands.install, "greeter")


async def test_install_narrows_by_what_is_named(http: Http, admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    await uploaded(http, admin, **WANTS)
    async with http.served() as url:
        terminal = Terminal(url, capsys)
        grant = ['{"service": "network", "hosts": ["api.acme.com"]}']
        changed = json.loads(await terminal.run(commands.install, "greeter", grant=grant, as_json=True))
        assert [(one["service"], one["hosts"]) for one in changed["grants"]] == [("network", ["api.acme.com"])]
        changed = json.loads(await terminal.run(commands.install, "greeter", grant=["database"], as_json=True))
        assert [one["service"] for one in changed["grants"]] == ["database"]
        with pytest.raises(Failure, match="no JSON"):
            await terminal.run(commands.install, "greeter", grant=["{"])
        with pytest.raises(Failure, match="does not ask for cache"):
            await terminal.run(commands.install, "greeter", grant=["cache"])


@pytest.mark.parametrize(("answer", "granted"), [("y", True), ("", False), ("no", False)])
async def test_install_asks_whoever_is_there(
    http: Http,
    admin: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    granted: bool,
) -> None:
    plugin_id = await uploaded(http, admin, **WANTS)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    async with http.served() as url:
        terminal = Terminal(url, capsys)
        if granted:
            await terminal.run(commands.install, "greeter")
        else:
            with pytest.raises(Failure, match="nothing was granted"):
                await terminal.run(commands.install, "greeter")
    held = (await admin.get(f"/api/v1/plugins/{plugin_id}")).json()["grants"]
    assert bool(held) is granted


async def test_install_consents_to_the_upgrade_that_waits(
    http: Http, admin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin_id = await uploaded(http, admin, activate=True)
    async with http.client(Role.DEVELOPER) as developer:
        await uploaded(http, developer, "1.1.0", activate=True, **WANTS)
    async with http.served() as url:
        terminal = Terminal(url, capsys)
        with pytest.raises(Failure, match="nobody is here"):
            await terminal.run(commands.install, "greeter")
        said = await terminal.run(commands.install, "greeter", yes=True)
    assert "greeter goes from 1.0.0 to 1.1.0 and asks for this:" in said
    assert (await admin.get(f"/api/v1/plugins/{plugin_id}")).json()["version"] == "1.1.0"


async def test_install_takes_what_the_marketplace_has_under_that_name(
    http: Http, admin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await http.tenant("seller")
    async with http.client(of="seller") as seller:
        plugin_id = await uploaded(http, seller, activate=True, **WANTS)
        await seller.post(f"/api/v1/plugins/{plugin_id}/publish", json={})
    async with http.served() as url:
        terminal = Terminal(url, capsys)
        said = await terminal.run(commands.install, "greeter", grant=["database"])
        with pytest.raises(Failure, match="neither the tenant nor the marketplace"):
            await terminal.run(commands.install, "nobody")
    assert "greeter 1.0.0 of the marketplace asks for this:" in said
    (plugin,) = (await admin.get("/api/v1/plugins")).json()["items"]
    held = (await admin.get(f"/api/v1/plugins/{plugin['id']}")).json()
    assert ([one["service"] for one in held["grants"]], held["status"]) == (["database"], "installed")


async def test_upload_points_to_install(
    http: Http, admin: Any, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    package = tmp_path / "p.zip"
    package.write_bytes(http.package("greeter", fields=WANTS))
    async with http.served() as url:
        said = await Terminal(url, capsys).run(upload_command, package, role=Role.DEVELOPER)
    assert "waits for an admin's consent to: network" in said
    assert "Next, as an admin: plugyard install greeter" in said
    assert "greeter 1.0.0 is validated" in said


async def test_upload_says_which_version_goes_on(
    http: Http, admin: Any, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    await uploaded(http, admin, activate=True)
    package = tmp_path / "p.zip"
    package.write_bytes(http.package("greeter", "1.1.0", fields=WANTS))
    async with http.served() as url:
        said = await Terminal(url, capsys).run(upload_command, package, role=Role.DEVELOPER, activate=True)
    assert "greeter 1.1.0 is uploaded; 1.0.0 is active as before" in said
    assert "waits for an admin's consent to: network" in said


async def test_diff_is_a_table_that_says_what_breaks(
    http: Http, admin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tight = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    await uploaded(http, admin, functions={"greet": {"input": {"type": "object"}, "effect": "read"}, "gone": {}})
    await uploaded(
        http, admin, "1.1.0", functions={"greet": {"input": tight, "effect": "write", "description": "Greets"}}, **WANTS
    )
    async with http.served() as url:
        terminal = Terminal(url, capsys)
        found = json.loads(await terminal.run(commands.diff, "greeter", "1.0.0", "1.1.0", as_json=True))
        said = await terminal.run(commands.diff, "greeter", "1.0.0", "1.1.0")
        same = await terminal.run(commands.diff, "greeter", "1.0.0", "1.0.0")
        with pytest.raises(Failure, match=r"no version 9\.9\.9"):
            await terminal.run(commands.diff, "greeter", "1.0.0", "9.9.9")
    assert found["breaking"] is True
    assert "from 1.0.0 to 1.1.0: breaking changes." in said
    assert same == "greeter, from 1.0.0 to 1.0.0: nothing differs."
    lines = commands.difference_lines(found)
    assert ("permission", "network", "added", "asks for rates", "") in lines
    assert ("function", "gone", "removed", "", "breaking") in lines
    assert ("function", "greet", "effect", "read became write", "breaking") in lines
    assert ("input", "greet /properties/name", "narrowed", "name is required now", "breaking") in lines


def test_every_part_of_a_difference_has_its_line() -> None:
    change = {"pointer": "", "change": "widened", "what": "number became any type", "breaking": False}
    finding = {"where": "main.py", "rule": "code.eval", "what": "evaluates text"}
    asked = {"service": "events", "change": "changed", "before": None, "after": {"reason": "tells"}}
    found = {
        "permissions": [{**asked, "more": ["topics a.*"], "less": ["topics b"]}],
        "dependencies": [{"where": "/dependencies/node", "before": ">=18", "after": None}],
        "functions": [],
        "endpoints": [{"where": "GET /a", "before": None, "after": "greet"}],
        "configuration": [change],
        "settings": [{"where": "/security/resourceLimits/memory", "before": 64, "after": 128}],
        "findings": {"appeared": [finding], "gone": []},
    }
    assert commands.difference_lines(found) == [
        ("permission", "events", "changed", "more: topics a.*; less: topics b; tells", ""),
        ("dependency", "/dependencies/node", "removed", ">=18", ""),
        ("endpoint", "GET /a", "added", "greet", ""),
        ("configuration", "/", "widened", "number became any type", ""),
        ("setting", "/security/resourceLimits/memory", "changed", "64 became 128", ""),
        ("finding", "main.py", "appeared", "code.eval: evaluates text", ""),
    ]
    assert commands.difference_lines({**found, "findings": None})[-1][0] == "setting"


async def test_rights_are_listed_and_the_unused_ones_dropped(
    http: Http, admin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin_id = await uploaded(http, admin, activate=True, **WANTS)
    http.world.clock.forward(days=31)
    used = frozenset({Right(Service.DATABASE)})
    http.world.executor.answer("greet", Outcome(ExecutionStatus.SUCCEEDED, b"null", None, USED, used=used))
    await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet"})
    async with http.served() as url:
        terminal = Terminal(url, capsys)
        said = await terminal.run(commands.rights, unused=True)
        assert "greeter network *.acme.com never, granted 2026-03-01 unused" in said
        assert "database" not in said
        held = json.loads(await terminal.run(commands.rights, "greeter", as_json=True))
        assert [(one["service"], one["unused"]) for one in held] == [
            ("network", True), ("network", True), ("database", False),
        ]  # fmt: skip
        with pytest.raises(Failure, match="name the plugin"):
            await terminal.run(commands.rights, drop=True)
        left = json.loads(await terminal.run(commands.rights, "greeter", drop=True, as_json=True))
        assert [one["service"] for one in left["grants"]] == ["database"]
        assert await terminal.run(commands.rights, unused=True) == "No right went unused."


def test_what_an_author_wrote_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    commands._table(("service", "reason"), [("cache", "[red]\x1b[2J\x07bold[/red]\u202egnol")])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "[red]" in said
