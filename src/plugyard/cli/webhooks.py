"""What an admin runs for a plugin's webhooks: ``webhooks list``, ``create``, ``rotate`` and ``revoke``."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from plugyard.cli.author import AsJson
from plugyard.cli.failure import Failure
from plugyard.cli.output import print_json, printable
from plugyard.cli.reach import HERE, Reach

SecretFile = Annotated[
    Path | None,
    Parameter(help="File with the secret that the sender made, or - for standard input; by default one is made."),
]


def register(app: App) -> None:
    """Add the command group to the command line."""
    group = App(name="webhooks", help="Public addresses of a plugin's endpoints, for senders that sign what they send.")
    group.command(list_webhooks, name="list")
    for command in (create, rotate, revoke):
        group.command(command)
    app.command(group)


def list_webhooks(plugin: str, /, *, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """List the webhooks of a plugin, by its name or id, newest first, without addresses and secrets.

    For example:

    ```
    plugyard webhooks list shop
    plugyard webhooks list shop --json
    ```
    """
    with reach.client() as client:
        found = list(client.all(_path(client.plugin_named(plugin))))
    if as_json:
        print_json(found)
        return
    for one in found:
        print(_line(one))
    if not found:
        print(f"The plugin has none. Next: plugyard webhooks create {plugin} /PATH --name NAME")


def create(
    plugin: str,
    path: str,
    /,
    *,
    name: Annotated[str, Parameter(help="What you know it by, such as who sends there.")],
    scheme: Annotated[
        Literal["plugyard", "github", "stripe", "slack"], Parameter(help="As who the sender signs.")
    ] = "plugyard",
    secret_file: SecretFile = None,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a webhook for an endpoint of a plugin that takes POST. Its address and secret are shown this once.

    For example:

    ```
    plugyard webhooks create shop /orders --name "the shop"
    plugyard webhooks create shop /stripe --name payments --scheme stripe --secret-file - < secret.txt
    ```
    """
    asked = {"name": name, "path": path, "scheme": scheme, "secret": _secret(secret_file)}
    with reach.client() as client:
        made = client.call("POST", _path(client.plugin_named(plugin)), json=asked)
        made["address"] = client.url.rstrip("/") + made["address"]
    if as_json:
        print_json(made)
        return
    print(f"address  {made['address']}\nsecret   {made['secret']}\nid       {made['id']}")
    print("Keep both: neither is shown again. docs/webhooks.md tells how senders sign.", file=sys.stderr)


def rotate(
    plugin: str,
    webhook: str,
    /,
    *,
    overlap_seconds: Annotated[int, Parameter(help="How long the old secret goes on holding.")] = 86_400,
    secret_file: SecretFile = None,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Give a webhook a new secret, which is shown this once; its address stays.

    For example:

    ```
    plugyard webhooks rotate shop 01a1f0c4-7a10-7000-8000-000000000081
    plugyard webhooks rotate shop 01a1f0c4-7a10-7000-8000-000000000081 --overlap-seconds 0
    ```
    """
    asked = {"overlapSeconds": overlap_seconds, "secret": _secret(secret_file)}
    with reach.client() as client:
        made = client.call("POST", f"{_path(client.plugin_named(plugin))}/{webhook}/rotate", json=asked)
    if as_json:
        print_json(made)
        return
    print(f"secret   {made['secret']}")
    until = made["previousUntil"]
    print(f"The old one holds until {until}." if until else "The old one holds no longer.", file=sys.stderr)


def revoke(
    plugin: str,
    webhook: str,
    /,
    *,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Revoke a webhook: its address answers as one that never was.

    For example:

    ```
    plugyard webhooks revoke shop 01a1f0c4-7a10-7000-8000-000000000081
    ```
    """
    with reach.client() as client:
        revoked = client.call("DELETE", f"{_path(client.plugin_named(plugin))}/{webhook}")
    if as_json:
        print_json(revoked)
    else:
        print(_line(revoked))


def _path(plugin: dict[str, Any]) -> str:
    return f"/api/v1/plugins/{plugin['id']}/webhooks"


def _secret(file: Path | None) -> str | None:
    """What a file holds, without the line feed that editors put behind it: not an argument, which all processes see."""
    if file is None:
        return None
    try:
        return (sys.stdin.read() if str(file) == "-" else file.read_text()).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"--secret-file {file}: {error}") from error


def _line(one: dict[str, Any]) -> str:
    state = f"revoked {one['revokedAt']}" if one["revokedAt"] else f"last used {one['lastUsedAt'] or 'never'}"
    return f"{one['id']}  {one['scheme']:<8}  {one['path']}  {printable(one['name'])}  {state}"
