"""What an admin runs to decide: ``install``, ``diff``, ``rights``."""

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import App, Parameter

from plugyard.cli.author import AsJson
from plugyard.cli.failure import Failure
from plugyard.cli.output import print_json, printable
from plugyard.cli.reach import HERE, Reach

Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]
Grant = Annotated[
    list[str] | None,
    Parameter(
        name="--grant",
        negative="",
        help="Grant this and nothing else; once for each service. A word (database), or JSON that narrows it.",
    ),
]
Line = tuple[str, ...]
_ASKED = ("service", "asks for", "reason", "stands")


def register(app: App) -> None:
    """Add the admin's commands to the command line."""
    for command in (install, diff, rights):
        app.command(command)


def install(
    plugin: str,
    /,
    *,
    grant: Grant = None,
    yes: Yes = False,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Show what a plugin asks for and why, and consent to it.

    A plugin that is installed and has an upgrade waiting, or available, is asked about that one. A name that the tenant
    does not have is looked for in the marketplace.

    For example:

    ```
    plugyard install invoices
    plugyard install invoices --grant cache --grant '{"service": "network", "hosts": ["api.acme.com"]}'
    plugyard install invoices --yes --json
    ```
    """
    grants = [_grant(text) for text in grant] if grant is not None else None
    with reach.client() as client:
        proposed = _proposed(client, plugin, decides=grants is not None)
        if not as_json:
            print(proposed.said)
            _table(_ASKED, [_ask_line(ask) for ask in proposed.asks])
        if proposed.path is None:
            _answer(proposed.shown, as_json=as_json)
            return
        if not yes and grants is None:
            _confirm(proposed.asks, as_json=as_json)
        # The version that was shown: where another one is there by now, nothing happens.
        changed = client.call("POST", proposed.path, json={"version": proposed.version, "grants": grants})
        _answer(changed, as_json=as_json)


def diff(
    plugin: str,
    before: str,
    after: str,
    /,
    *,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Show what changes from one version of a plugin to another.

    For example:

    ```
    plugyard diff invoices 1.0.0 1.1.0
    plugyard diff invoices 1.1.0 1.0.0 --json
    ```
    """
    from urllib.parse import quote

    with reach.client() as client:
        plugin_id = client.plugin_named(plugin)["id"]
        numbers = f"{quote(before, safe='')}/diff/{quote(after, safe='')}"
        found = client.call("GET", f"/api/v1/plugins/{plugin_id}/versions/{numbers}")
        if as_json:
            print_json(found)
            return
        lines = difference_lines(found)
        print(f"{plugin}, from {found['before']} to {found['after']}: ", end="")
        print("nothing differs." if not lines else "breaking changes." if found["breaking"] else "nothing breaks.")
        _table(("part", "where", "change", "what", ""), lines)


def rights(
    plugin: str | None = None,
    /,
    *,
    unused: Annotated[bool, Parameter(negative="", help="Only rights that went unused.")] = False,
    drop: Annotated[bool, Parameter(negative="", help="Take away all that went unused.")] = False,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """List the rights that plugins hold, with their last use, and drop those that went unused.

    For example:

    ```
    plugyard rights --unused
    plugyard rights invoices --drop
    ```
    """
    with reach.client() as client:
        if drop and plugin is None:
            raise Failure("name the plugin whose unused rights are to be dropped")
        if plugin is None:
            held = _pages(client, "/api/v1/rights", {"unused": "true" if unused else "false"})
        else:
            one = client.plugin_named(plugin)
            if drop:
                left = client.call("POST", f"/api/v1/plugins/{one['id']}/rights/drop", json={"unused": True})
                _answer(left, as_json=as_json)
                return
            held = client.call("GET", f"/api/v1/plugins/{one['id']}/rights")["items"]
            held = [{**right, "plugin": one["name"]} for right in held if right["unused"] or not unused]
        if as_json:
            print_json(held)
            return
        _table(("plugin", "service", "name", "last used", ""), [_right_line(right) for right in held])
        if not held:
            print("No right went unused." if unused else "No rights are held.")


def difference_lines(found: dict[str, Any]) -> list[Line]:
    """The difference between two versions as lines of a table: part, place, change, words, and whether it breaks."""
    lines: list[Line] = []
    for change in found["permissions"]:
        more, less = (f"{word} {', '.join(change[key])}" for word, key in (("more:", "more"), ("less:", "less")))
        words = [one for one, key in ((more, "more"), (less, "less")) if change[key]]
        reason = (change["after"] or change["before"])["reason"]
        lines.append(("permission", change["service"], change["change"], "; ".join([*words, reason]).strip("; "), ""))
    lines += [_value_line("dependency", change) for change in found["dependencies"]]
    for function in found["functions"]:
        lines += _function_lines(function)
    for change in found["endpoints"]:
        broken = change["before"] is not None
        lines.append((*_value_line("endpoint", change)[:4], "breaking" if broken else ""))
    lines += [_schema_line("configuration", "", change) for change in found["configuration"]]
    lines += [_value_line("setting", change) for change in found["settings"]]
    for word in ("appeared", "gone"):
        for finding in (found["findings"] or {}).get(word, ()):
            lines.append(("finding", finding["where"], word, f"{finding['rule']}: {finding['what']}", ""))
    return lines


def _function_lines(one: dict[str, Any]) -> list[Line]:
    name, change = one["name"], one["change"]
    if change != "changed":
        words = one["descriptionAfter"] or one["descriptionBefore"] or ""
        return [("function", name, change, words, "breaking" if one["breaking"] else "")]
    lines: list[Line] = []
    if one["effectBefore"] != one["effectAfter"]:
        broken = "breaking" if one["effectAfter"] == "write" else ""
        lines.append(("function", name, "effect", f"{one['effectBefore']} became {one['effectAfter']}", broken))
    if one["descriptionBefore"] != one["descriptionAfter"]:
        lines.append(("function", name, "description", one["descriptionAfter"], ""))
    for part in ("input", "output"):
        lines += [_schema_line(part, name, each) for each in one[part]]
    return lines


def _schema_line(part: str, name: str, change: dict[str, Any]) -> Line:
    where = f"{name} {change['pointer'] or '/'}".strip()
    return part, where, change["change"], change["what"], "breaking" if change["breaking"] else ""


def _value_line(part: str, change: dict[str, Any]) -> Line:
    before, after = change["before"], change["after"]
    kind = "added" if before is None else "removed" if after is None else "changed"
    words = " became ".join(_plain(value) for value in (before, after) if value is not None)
    return part, change["where"], kind, words, ""


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Proposed:
    """What there is to decide: the requests, of which version, and where the answer goes; ``None`` for nothing."""

    shown: dict[str, Any]
    said: str
    asks: list[dict[str, Any]]
    version: str
    path: str | None


def _proposed(client: Any, name: str, *, decides: bool) -> _Proposed:
    """The plugin of that name, the upgrade that it has before it, or the listing of that name."""
    found = client.find_plugin(name)
    if found is None:
        return _listed(client, name)
    shown = client.call("GET", f"/api/v1/plugins/{found['id']}")
    one, version = f"/api/v1/plugins/{shown['id']}", shown["version"]
    waiting = shown["waiting"]
    upgrade = waiting if waiting is not None and not waiting["declined"] else shown["available"]
    if shown["installedAt"] is not None and upgrade is not None:
        asked, number = upgrade["asks"], upgrade["version"]
        said = f"{shown['name']} goes from {version} to {number} and asks for {'this:' if asked else 'nothing more.'}"
        return _Proposed(shown, said, asked, number, f"{one}/consent")
    asked = shown["asks"]
    said = f"{shown['name']} is version {version} and asks for {'this:' if asked else 'nothing.'}"
    decided = shown["installedAt"] is not None and not decides
    return _Proposed(shown, said, asked, version, None if decided else f"{one}/install")


def _listed(client: Any, name: str) -> _Proposed:
    found = client.call("GET", "/api/v1/plugins/marketplace", params={"q": name, "limit": 100})["items"]
    for listing in found:
        if name in (listing["name"], listing["id"]):
            asked = listing["asks"]
            said = f"{listing['name']} {listing['version']} of the marketplace asks for "
            path = f"/api/v1/plugins/marketplace/{listing['id']}/install"
            return _Proposed(listing, said + ("this:" if asked else "nothing."), asked, listing["version"], path)
    raise Failure(f"neither the tenant nor the marketplace has a plugin {name!r}")


def _grant(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {"service": text}
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise Failure(f"--grant {text!r} is no JSON: {error}") from error
    return found


def _confirm(asked: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise Failure("nobody is here to be asked; consent with --yes, or name what to grant with --grant")
    if input(f"{'Grant all of it' if asked else 'Go on'}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Failure("nothing was granted; name what to grant with --grant")


def _ask_line(ask: dict[str, Any]) -> Line:
    stands = ask.get("status", "waiting")
    if not ask.get("grantable", True):
        stands += ", the operator allows it to no plugin"
    return ask["service"], _narrowing(ask), ask["reason"] or "(the author gives none)", stands


def _narrowing(ask: dict[str, Any]) -> str:
    parts = [f"{key} {', '.join(ask[key])}" for key in ("hosts", "methods", "paths", "topics") if ask[key]]
    if not parts and ask["service"] == "network":
        return "no host yet: name some with --grant"
    return "; ".join(parts)


def _right_line(right: dict[str, Any]) -> Line:
    used = right["lastUsedAt"][:10] if right["lastUsedAt"] else f"never, granted {right['grantedAt'][:10]}"
    return right["plugin"], right["service"], right["name"] or "", used, "unused" if right["unused"] else ""


def _answer(plugin: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(plugin)
        return
    holds = "holds this:" if plugin["grants"] else "holds no rights."
    print(f"{plugin['name']} {plugin['version']} is {plugin['status']} and {holds}")
    _table(("service", "narrowed to"), [(grant["service"], _narrowing(grant)) for grant in plugin["grants"]])
    if plugin["status"] == "installed":
        print("It does not execute until it is activated.")


def _pages(client: Any, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.call("GET", path, params={**query, "limit": 100, **cursor})
        items += page["items"]
        if page["nextCursor"] is None:
            return items
        cursor = {"cursor": page["nextCursor"]}


def _table(titles: Line, lines: list[Line]) -> None:
    if not lines:
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for title in titles:
        # Nothing is left out: an admin decides by this.
        table.add_column(title, overflow="fold")
    for line in lines:
        table.add_row(*(printable(cell) for cell in line))
    Console(markup=False, highlight=False, emoji=False).print(table)
