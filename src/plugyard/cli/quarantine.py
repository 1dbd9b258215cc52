"""What an operator runs on suspicious versions: ``quarantine list``, ``show``, ``release``, ``refuse``."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from plugyard.cli.author import AsJson
from plugyard.cli.findings import finding_lines
from plugyard.cli.reach import HERE, Reach

State = Annotated[str, Parameter(help="quarantined, released or refused.")]
Reason = Annotated[str, Parameter(help="Why; who uploaded the version reads it.")]
if TYPE_CHECKING:
    from plugyard.cli.client import Client

_BASE = "/api/v1/quarantine"


def register(app: App) -> None:
    """Add the operator's commands on the quarantine to the command line."""
    group = App(name="quarantine", help="Versions that the gate found suspicious, and the word on them.")
    for command, name in ((list_, "list"), (show, "show"), (release, "release"), (refuse, "refuse")):
        group.command(command, name=name)
    app.command(group)


def list_(
    *,
    state: State = "quarantined",
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """List the versions that wait, of all tenants, the longest waiting first.

    For example:

    ```
    plugyard quarantine list
    plugyard quarantine list --state refused --json
    ```
    """
    with reach.client(whose="operator") as client:
        found = _all(client, state)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for one in found:
        reason = f"  {one['reason']}" if one["reason"] else ""
        print(f"{one['versionId']}  {one['name']} {one['version']}  since {one['since']}{reason}")
    if not found:
        print(f"No version is {state}.")
    elif state == "quarantined":
        print("Next: plugyard quarantine show VERSION_ID")


def _all(client: "Client", state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        asked = {"state": state, "limit": 100} | ({"cursor": cursor} if cursor else {})
        page = client.call("GET", _BASE, params=asked)
        found += page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


def show(version: str, /, *, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """Show a version with everything that was found in it.

    For example:

    ```
    plugyard quarantine show 01a1f0c4-7a10-7000-8000-000000000031
    ```
    """
    with reach.client(whose="operator") as client:
        found = client.call("GET", f"{_BASE}/{version}")
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    print(f"{found['name']} {found['version']} of tenant {found['tenantId']} is {found['state']}  {found['digest']}")
    for finding in found["report"]["findings"]:
        print(finding_lines(finding))
    print('Next: plugyard quarantine release VERSION_ID --reason "...", or refuse')


def release(
    version: str,
    /,
    *,
    reason: Reason,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Let a version be used.

    For example:

    ```
    plugyard quarantine release 01a1f0c4-7a10-7000-8000-000000000031 --reason "A template engine."
    ```
    """
    _decide("release", version, reason, reach, as_json)


def refuse(
    version: str,
    /,
    *,
    reason: Reason,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Never let a version be used.

    For example:

    ```
    plugyard quarantine refuse 01a1f0c4-7a10-7000-8000-000000000031 --reason "It sends its input to a tunnel."
    ```
    """
    _decide("refuse", version, reason, reach, as_json)


def _decide(word: str, version: str, reason: str, reach: Reach, as_json: bool) -> None:
    with reach.client(whose="operator") as client:
        found = client.call("POST", f"{_BASE}/{version}/{word}", json={"reason": reason})
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        print(f"{found['name']} {found['version']} is {found['state']}")
