"""What an operator runs on sealed secrets: ``secrets new-key``, ``secrets keys``, ``secrets rotate``."""

import base64
import os
import sys
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from plugyard.cli.reach import HERE, Reach


def register(app: App) -> None:
    """Add the command group to the command line."""
    group = App(name="secrets", help="The keys that seal plugins' secrets.")
    for command in (new_key, keys, rotate):
        group.command(command)
    app.command(group)


def new_key(*, name: Annotated[str | None, Parameter(help="The key's id; by default today's date.")] = None) -> None:
    """Print a new key, to be put first into the setting secret_keys. Keep it where the database's copies are not.

    For example:

    ```
    plugyard secrets new-key
    ```
    """
    print(f"{name or datetime.now(UTC).strftime('%Y-%m-%d')}:{base64.b64encode(os.urandom(32)).decode()}")


def keys(*, reach: Reach = HERE) -> None:
    """List the keys by their ids, and how many plugins' secrets each seals; the first one seals now.

    For example:

    ```
    plugyard secrets keys
    ```
    """
    found = reach.client(whose="operator").call("GET", "/api/v1/secrets")["keys"]
    for one in found:
        print(f"{one['id']:40} {one['plugins']:8}{'  seals now' if one['seals'] else ''}")


def rotate(*, reach: Reach = HERE) -> None:
    """Seal every plugin's secrets with the first key. May be ended and started again at any time.

    Ends with status 1 where something could not be opened, and names it.

    For example:

    ```
    plugyard secrets rotate
    ```
    """
    client = reach.client(whose="operator")
    sealed, locked, after = 0, [], None
    while True:
        step = client.call("POST", "/api/v1/secrets/rotate", json={"after": after})
        sealed, after = sealed + step["sealed"], step["next"]
        locked += step["locked"]
        print(f"{sealed} plugins sealed with {step['keyId']}", file=sys.stderr, flush=True)
        if after is None:
            break
    for one in locked:
        print(
            f"tenant {one['tenantId']}, plugin {one['pluginId']}: the key {one['keyId']} is missing or does not open it"
        )
    raise SystemExit(1 if locked else 0)
