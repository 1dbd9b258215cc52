"""What admins and operators run for API keys: ``keys list``, ``create``, ``rotate``, ``revoke``."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from plugyard.cli.author import AsJson
from plugyard.cli.output import print_json, printable
from plugyard.cli.reach import HERE, Reach

Operators = Annotated[bool, Parameter(negative="", help="The operators' own keys, which belong to no tenant.")]


def register(app: App) -> None:
    """Add the command group to the command line."""
    group = App(name="keys", help="API keys of your tenant, or of operators: list, make, rotate and revoke them.")
    group.command(list_keys, name="list")
    for command in (create, rotate, revoke):
        group.command(command)
    app.command(group)


def list_keys(
    *,
    operators: Operators = False,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """List the keys, newest first, without their secrets: what each may do, when it ends, when it was last used.

    For example:

    ```
    plugyard keys list
    plugyard keys list --operators --json
    ```
    """
    with reach.client(whose=_whose(operators=operators)) as client:
        found = list(client.all(_path(operators=operators)))
    if as_json:
        print_json(found)
        return
    for one in found:
        print(_line(one))


def create(
    name: str,
    /,
    *,
    role: Annotated[Literal["viewer", "developer", "admin"], Parameter(help="What it may do at most.")] = "developer",
    days: Annotated[int | None, Parameter(help="After how many days it ends; by default never.")] = None,
    action: Annotated[
        list[str] | None, Parameter(negative="", help="Narrow it to an action, such as execute or read.")
    ] = None,
    plugin: Annotated[str | None, Parameter(help="Narrow it to one plugin, by name or id.")] = None,
    function: Annotated[
        list[str] | None, Parameter(negative="", help="Narrow it to a function of that plugin.")
    ] = None,
    operators: Operators = False,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a key and show its secret, this once.

    For example:

    ```
    plugyard keys create "continuous delivery" --days 90
    plugyard keys create "the shop" --action execute --plugin invoice-totals --function total
    ```
    """
    body: dict[str, Any] = {"name": name, "expiresInDays": days, **({} if operators else {"role": role})}
    with reach.client(whose=_whose(operators=operators)) as client:
        if action or plugin or function:
            plugin_id = client.plugin_named(plugin)["id"] if plugin else None
            body["scopes"] = [{"actions": action or [], "plugin": plugin_id, "functions": function or []}]
        made = client.call("POST", _path(operators=operators), json=body)
    _tell_new(made, as_json=as_json)


def rotate(
    key_id: str,
    /,
    *,
    overlap_hours: Annotated[float, Parameter(help="For how long the old secret goes on working.")] = 24,
    operators: Operators = False,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a new key in the place of one, with the same name, role, scopes and end, and show its secret, this once.

    For example:

    ```
    plugyard keys rotate 019a8f42-3c4d-7e5f-8061-9b0c1d2e3f40
    plugyard keys rotate 019a8f42-3c4d-7e5f-8061-9b0c1d2e3f40 --overlap-hours 0
    ```
    """
    with reach.client(whose=_whose(operators=operators)) as client:
        body = {"overlapSeconds": round(overlap_hours * 3_600)}
        _tell_new(client.call("POST", f"{_path(operators=operators)}/{key_id}/rotate", json=body), as_json=as_json)


def revoke(
    key_id: str,
    /,
    *,
    operators: Operators = False,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: it is refused from now on, everywhere within a second.

    For example:

    ```
    plugyard keys revoke 019a8f42-3c4d-7e5f-8061-9b0c1d2e3f40
    ```
    """
    with reach.client(whose=_whose(operators=operators)) as client:
        done = client.call("DELETE", f"{_path(operators=operators)}/{key_id}")
    if as_json:
        print_json(done)
    else:
        print(_line(done))


def _path(*, operators: bool) -> str:
    return "/api/v1/operator-keys" if operators else "/api/v1/keys"


def _whose(*, operators: bool) -> str:
    return "operator" if operators else "admin"


def _tell_new(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    print(f"{_line(made)}\nSecret, shown this once: {made['secret']}")


def _line(one: dict[str, Any]) -> str:
    if one["revokedAt"]:
        stands = "revoked"
    elif one["expiresAt"] and datetime.fromisoformat(one["expiresAt"]) <= datetime.now(UTC):
        stands = "expired"
    else:
        stands = f"until {one['expiresAt']}" if one["expiresAt"] else "without end"
    used = f"last used {one['lastUsedAt']}" if one["lastUsedAt"] else "never used"
    narrowed = "".join(f"; narrowed to {_scope(scope)}" for scope in one["scopes"])
    return f"{one['id']}  {one['role']:9}  {printable(one['name'])}  ({stands}, {used}{narrowed})"


def _scope(scope: dict[str, Any]) -> str:
    words = [", ".join(scope["actions"]) or "everything"]
    if scope["plugin"]:
        words.append(f"on {scope['plugin']}")
    if scope["functions"]:
        words.append(f"({', '.join(scope['functions'])})")
    return " ".join(words)
