"""What an auditor runs: ``audit verify`` follows a chain by itself and believes nothing that the service says of it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from plugyard.cli.author import AsJson
from plugyard.cli.failure import Failure
from plugyard.cli.reach import HERE, Reach
from plugyard.domain.trail import BrokenTrail, Head, follow

Tenant = Annotated[str | None, Parameter(help="An operator names a tenant, by id or slug.")]
OfPlatform = Annotated[bool, Parameter(negative="", help="The chain of what operators did to no tenant.")]
Export = Annotated[Path | None, Parameter(name="--file", help="An export that was saved, instead of a service.")]
Noted = Annotated[
    str | None, Parameter(name="--since-head", help="A head that was noted down, as SEQUENCE:HASH; it has to be there.")
]


def register(app: App) -> None:
    """Add the command group to the command line."""
    group = App(name="audit", help="The audit trail: verify that nothing in it was changed.")
    group.command(verify)
    app.command(group)


def verify(
    *,
    since_head: Noted = None,
    tenant: Tenant = None,
    platform: OfPlatform = False,
    file: Export = None,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Verify the audit trail: recompute every hash from the exported entries, and say where the chain ends.

    Note the head down where the service cannot reach it. With it, the next verification proves that nothing before it
    was changed or cut off. Ends with status 1 and names the first bad entry where the chain does not hold.

    For example:

    ```
    plugyard audit verify
    plugyard audit verify --since-head 42:5f5f...
    plugyard audit verify --platform
    plugyard audit verify --file trail.jsonl
    ```
    """
    noted = None if since_head is None else _noted(since_head)
    try:
        if file is not None:
            head = check(_saved(file), noted)
        else:
            whose = "operator" if platform or tenant is not None else "admin"
            client = reach.client(whose=whose, tenant=tenant)
            answer = client.call("GET", "/api/v1/audit/head")
            told = Head(answer["sequence"], answer["hash"])
            head = check(client.lines("/api/v1/audit/export"), noted, told)
    except BrokenTrail as broken:
        if as_json:
            print(json.dumps({"intact": False, "sequence": broken.sequence, "why": broken.why, "entry": broken.entry}))
        raise Failure(f"the audit trail does not hold: {broken}") from None
    if as_json:
        print(json.dumps({"intact": True, "head": str(head), "entries": head.sequence}))
        return
    print(f"The trail holds: {head.sequence} entries, each as it was chained.")
    if noted is not None:
        print(f"Nothing up to entry {noted.sequence} was changed since that head was noted.")
    print(f"Head to note down: {head}")


def check(lines: Iterable[bytes], noted: Head | None = None, told: Head | None = None) -> Head:
    """Follow a chain to its end; raises ``BrokenTrail`` also where it lacks a head that was noted or told before."""
    head = Head()
    wanted = [one for one in (noted, told) if one is not None]
    for one in wanted:
        _compare(head, one)
    for head in follow(lines):
        for one in wanted:
            _compare(head, one)
    for one in wanted:
        if one.sequence > head.sequence:
            whose = "noted" if one is noted else "that the service tells"
            why = f"the chain ends before the head {whose}, {one}: its tail was cut off"
            raise BrokenTrail(head.sequence + 1, why)
    return head


def _compare(head: Head, wanted: Head) -> None:
    if head.sequence == wanted.sequence and head.hash != wanted.hash:
        why = f"its hash is {head.hash}, and {wanted.hash} was noted: it or something before it was changed"
        raise BrokenTrail(head.sequence, why)


def _noted(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as error:
        raise Failure(f"--since-head: {error}") from error


def _saved(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as lines:
            for line in lines:
                yield line.removesuffix(b"\n")
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error}") from error
