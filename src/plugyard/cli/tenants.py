"""What an operator runs for tenants: ``tenants list``, ``create``, ``suspend``, ``resume``, ``export``, ``delete``."""

import hashlib
import json
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from plugyard.cli.author import AsJson
from plugyard.cli.failure import Failure
from plugyard.cli.output import print_json, printable, progress
from plugyard.cli.reach import HERE, Reach

if TYPE_CHECKING:
    from plugyard.cli.client import Client

Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]
_BLOCK = 1 << 20


def register(app: App) -> None:
    """Add the command group to the command line."""
    group = App(name="tenants", help="Tenants: list, make, suspend, resume, export and delete them.")
    group.command(list_tenants, name="list")
    for command in (create, suspend, resume, export, delete):
        group.command(command)
    app.command(group)


def list_tenants(*, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """List every tenant, and how it stands.

    For example:

    ```
    plugyard tenants list
    plugyard tenants list --json
    ```
    """
    with reach.client(whose="operator") as client:
        found = list(client.all("/api/v1/tenants"))
    if as_json:
        print_json(found)
        return
    width = max((len(one["slug"]) for one in found), default=4)
    for one in found:
        why = f"  {printable(one['suspendedBecause'])}" if one["suspendedBecause"] else ""
        print(f"{one['slug']:{width}}  {one['id']}  {one['state']:9}  {printable(one['name'])}{why}")


def create(
    slug: str,
    /,
    *,
    name: str | None = None,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a tenant, and show its first admin key, this once.

    For example:

    ```
    plugyard tenants create acme --name "Acme Incorporated"
    plugyard tenants create acme --json
    ```
    """
    with reach.client(whose="operator") as client:
        made = client.call("POST", "/api/v1/tenants", json={"slug": slug, "name": name or slug.capitalize()})
    if as_json:
        print_json(made)
        return
    print(f"Made {made['tenant']['slug']}  (id {made['tenant']['id']})")
    print(f"First admin key, shown this once: {made['key']['secret']}")


def suspend(
    tenant: str,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; the tenant is told.")],
    let_finish: Annotated[
        bool, Parameter(negative="", help="Let what runs now finish, instead of cancelling.")
    ] = False,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Stop a tenant, named by slug or id: its keys are refused, and nothing of it executes.

    For example:

    ```
    plugyard tenants suspend acme --reason "The bill is open."
    plugyard tenants suspend acme --reason "The contract ends." --let-finish
    ```
    """
    body = {"reason": reason, "running": "finish" if let_finish else "cancel"}
    with reach.client(whose="operator") as client:
        one = _named(client, tenant)
        _tell(client.call("POST", f"/api/v1/tenants/{one['id']}/suspend", json=body), as_json=as_json)


def resume(tenant: str, /, *, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """Let a suspended tenant go on.

    For example:

    ```
    plugyard tenants resume acme
    ```
    """
    with reach.client(whose="operator") as client:
        one = _named(client, tenant)
        _tell(client.call("POST", f"/api/v1/tenants/{one['id']}/resume"), as_json=as_json)


def export(
    tenant: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(help="Where to save it; by default SLUG.zip here.")] = None,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Save everything of a tenant as one archive, and verify every checksum in it.

    For example:

    ```
    plugyard tenants export acme
    plugyard tenants export acme --output archives/acme.zip --json
    ```
    """
    with reach.client(whose="operator") as client:
        one = _named(client, tenant)
        target = output or Path(f"{one['slug']}.zip")
        target.parent.mkdir(parents=True, exist_ok=True)
        # What broke off half-way must not look like an export.
        unfinished = target.with_name(target.name + ".part")
        try:
            with unfinished.open("wb") as file, progress(f"exporting {one['slug']}") as moved:
                for piece in client.pieces(f"/api/v1/tenants/{one['id']}/export"):
                    file.write(piece)
                    moved(len(piece))
            with progress("verifying") as moved:
                manifest = verified(unfinished, moved)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    if as_json:
        print_json({"file": str(target), **manifest})
        return
    print(f"Saved {target}: {len(manifest['files'])} files, every checksum right")
    for name, count in manifest["records"].items():
        print(f"  {name:12} {count}")
    if manifest["confirmation"]:
        print(f"Next: plugyard tenants delete {one['slug']} --export {target}")


def delete(
    tenant: str,
    /,
    *,
    export: Annotated[Path | None, Parameter(help="The export that was saved since it is suspended.")] = None,
    force: Annotated[str | None, Parameter(help="Delete without an export, for this reason.")] = None,
    yes: Yes = False,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Delete a suspended tenant and everything that is its own, and wait until nothing of it is left.

    For example:

    ```
    plugyard tenants delete acme --export acme.zip
    plugyard tenants delete trial --force "nobody used it" --yes
    ```
    """
    if (export is None) == (force is None):
        raise Failure("name the export that was saved with --export, or say with --force why there is none")
    asked = {"force": force} if export is None else {"confirmation": _confirmation(export)}
    with reach.client(whose="operator") as client:
        one = _named(client, tenant)
        if not yes:
            _ask(one)
        address = f"/api/v1/tenants/{one['id']}"
        client.call("DELETE", address, params=asked)
        with progress(f"deleting {one['slug']}"):
            while any(each["id"] == one["id"] for each in client.all("/api/v1/tenants")):
                time.sleep(0.2)
    if as_json:
        print_json({"id": one["id"], "slug": one["slug"], "deleted": True})
    else:
        print(f"{one['slug']} is gone.")


def verified(archive: Path, moved: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
    """The manifest of an export, every checksum of which is right; raises ``Failure``."""
    try:
        with zipfile.ZipFile(archive) as opened:
            manifest: dict[str, Any] = json.loads(opened.read("manifest.json"))
            for one in manifest["files"]:
                digest = hashlib.sha256()
                with opened.open(one["path"]) as file:
                    while block := file.read(_BLOCK):
                        digest.update(block)
                        moved(len(block))
                if digest.hexdigest() != one["sha256"]:
                    raise Failure(f"{archive} is damaged: {one['path']} is not what its checksum says")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise Failure(f"{archive} is no whole export: {error}") from error
    return manifest


def _confirmation(archive: Path) -> str:
    confirmation = verified(archive)["confirmation"]
    if not confirmation:
        raise Failure(f"{archive} was made while the tenant was active: suspend it, and export it again")
    return str(confirmation)


def _ask(one: dict[str, Any]) -> None:
    if not sys.stdin.isatty():
        raise Failure("nobody can be asked here; confirm with --yes")
    print(f"{one['slug']} ({printable(one['name'])}) and everything of it goes for good.", file=sys.stderr)
    if input("Type its slug to go on: ").strip() != one["slug"]:
        raise Failure("nothing was deleted")


def _named(client: "Client", tenant: str) -> dict[str, Any]:
    for one in client.all("/api/v1/tenants"):
        if tenant in (one["slug"], one["id"]):
            return one
    raise Failure(f"there is no tenant {tenant!r}; plugyard tenants list shows them")


def _tell(one: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(one)
    else:
        print(f"{one['slug']} is {one['state']}  (id {one['id']})")
