"""Denials in the audit trail: each is in it, and none of them can be made a way to flood it.

``http/operations.py`` notes a denial while it answers it. What the same actor is denied in the same way within a minute
is two entries at most: the first at once, and one with the number of those that followed. Nobody waits for either, and
an entry that cannot be written now is written later.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from plugyard.application.denialbook import Denial, Followed
from plugyard.application.platform import Platform
from plugyard.application.ports import AuditEntry
from plugyard.domain.errors import PlugyardError

ACTION = "access.denied"
WINDOW = timedelta(minutes=1)
MOST_HELD = 10_000


def note_denial(platform: Platform, denial: Denial) -> None:
    """Take a denial down. It costs its answer microseconds, and raises nothing."""
    book, now = platform.denials, platform.clock()
    same = replace(denial, request_id="")
    held = book.held.get(same)
    if held is not None and now - held.since < WINDOW:
        held.count += 1
        return
    if len(book.held) >= MOST_HELD or len(book.waiting) >= MOST_HELD:
        book.lost += 1
        return
    if held is not None and held.count:
        book.waiting.append(_entry(platform, held.denial, held.count, held.since))
    book.held[same] = Followed(now, denial)
    book.waiting.append(_entry(platform, denial))
    if len(book.waiting) == 1:
        platform.in_background(_write(platform))


async def write_denials(platform: Platform, *, all_of_them: bool = False) -> None:
    """Write down what is counted of minutes that are over, and what waits; the service does this every few seconds."""
    book, now = platform.denials, platform.clock()
    for same, held in list(book.held.items()):
        if all_of_them or now - held.since >= WINDOW:
            del book.held[same]
            if held.count:
                book.waiting.append(_entry(platform, held.denial, held.count, held.since))
    if book.lost and len(book.waiting) < MOST_HELD:
        denial = Denial(None, "service:denials", "any", "uncounted", "more denials at a time than are held")
        book.waiting.append(_entry(platform, denial, book.lost, now))
        book.lost = 0
    await _write(platform)


async def _write(platform: Platform) -> None:
    taken, platform.denials.waiting = platform.denials.waiting, []
    try:
        for tenant_id in dict.fromkeys(entry.tenant_id for entry in taken):
            await _write_of(platform, tenant_id, [entry for entry in taken if entry.tenant_id == tenant_id])
            taken = [entry for entry in taken if entry.tenant_id != tenant_id]
    except PlugyardError:
        # The store is away: the entries keep their time and are written when it is back.
        platform.denials.waiting = [*taken, *platform.denials.waiting]


async def _write_of(platform: Platform, tenant_id: str | None, entries: Iterable[AuditEntry]) -> None:
    store = platform.store
    async with store.for_operator() if tenant_id is None else store.for_tenant(tenant_id) as tx:
        for entry in entries:
            await tx.audit(entry)


def _entry(platform: Platform, denial: Denial, count: int = 0, since: datetime | None = None) -> AuditEntry:
    detail: dict[str, object] = {"code": denial.code}
    if denial.reason:
        detail["reason"] = denial.reason
    if since is not None:
        detail |= {"count": count, "since": since.isoformat()}
    return AuditEntry(
        platform.ids(),
        denial.tenant_id,
        platform.clock(),
        denial.actor,
        ACTION,
        denial.operation,
        detail,
        denial.request_id,
    )
