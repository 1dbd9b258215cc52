"""What an admin runs on queued executions that were given up: ``dead-letters list``, ``show``, ``replay``, ``drop``."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from plugyard.cli.author import AsJson
from plugyard.cli.output import printable
from plugyard.cli.reach import HERE, Reach

if TYPE_CHECKING:
    from plugyard.cli.client import Client

Plugin = Annotated[str | None, Parameter(help="Only those of this plugin, by its id.")]
_BASE = "/api/v1/dead-letters"


def register(app: App) -> None:
    """Add the commands on dead letters to the command line."""
    group = App(name="dead-letters", help="Queued executions that were given up.")
    for command, name in ((list_, "list"), (show, "show"), (replay, "replay"), (drop, "drop")):
        group.command(command, name=name)
    app.command(group)


def list_(*, plugin: Plugin = None, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """List the dead letters of the tenant, the latest first.

    For example:

    ```
    plugyard dead-letters list
    plugyard dead-letters list --plugin 01a1f0c4-7a10-7000-8000-000000000021 --json
    ```
    """
    with reach.client() as client:
        found = _all(client, plugin)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for one in found:
        last = one["attempts"][-1] if one["attempts"] else {"status": "", "code": None}
        why = last["code"] or last["status"]
        print(f"{one['executionId']}  {one['function']}  {len(one['attempts'])} tries  {one['diedAt']}  {why}")
    print("Next: plugyard dead-letters show EXECUTION_ID" if found else "There is no dead letter.")


def show(execution: str, /, *, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """Show a dead letter with its tries, and its input while that is kept.

    For example:

    ```
    plugyard dead-letters show 01a1f0c4-7a10-7000-8000-000000000021
    ```
    """
    with reach.client() as client:
        found = client.call("GET", f"{_BASE}/{execution}")
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    letter = found["deadLetter"]
    print(f"{letter['function']} of {letter['pluginId']} {letter['version']}, queued {letter['queuedAt']}")
    for number, one in enumerate(letter["attempts"], 1):
        said = printable(one["message"] or "")
        print(f"  {number}. {one['startedAt']}  {one['status']}  {one['code'] or ''}  {said}".rstrip())
    print(json.dumps(found["input"], indent=2) if letter["inputBytes"] is not None else "Its input is no longer kept.")


def replay(execution: str, /, *, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """Run a dead letter again; it becomes an execution of its own.

    For example:

    ```
    plugyard dead-letters replay 01a1f0c4-7a10-7000-8000-000000000021
    ```
    """
    with reach.client() as client:
        found = client.call("POST", f"{_BASE}/{execution}/replay")
    print(json.dumps(found, indent=2) if as_json else f"It is queued as {found['executionId']}.")


def drop(execution: str, /, *, reach: Reach = HERE) -> None:
    """Forget a dead letter; the record of its execution stays.

    For example:

    ```
    plugyard dead-letters drop 01a1f0c4-7a10-7000-8000-000000000021
    ```
    """
    with reach.client() as client:
        client.call("DELETE", f"{_BASE}/{execution}")
    print("It is dropped.")


def _all(client: "Client", plugin: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        asked = {"limit": 100} | ({"cursor": cursor} if cursor else {}) | ({"plugin": plugin} if plugin else {})
        page = client.call("GET", _BASE, params=asked)
        found += page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            return found
