"""The audit trail over HTTP: listed, exported as the lines of its chain, and the head to write down elsewhere."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import ASGIApp

from plugyard.application import audit
from plugyard.application.ports import AuditFilter
from plugyard.domain.identity import Action
from plugyard.http import examples, present, views
from plugyard.http.answers import ByteStream, json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Reply, operation
from plugyard.http.queries import PAGE, Parameter, moment, page_of, text
from plugyard.http.streams import counted, require_room

EXPORTS, MAX_EXPORTS = "exports of the trail", 4
LINES_TYPE = "application/jsonl"
_TAG = "Keys and tenants"


def _sequence(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 18 and str(int(value)) == value):
        raise ValueError("a whole number from 0 to 999999999999999999")
    return int(value)


AFTER = Parameter(
    "after",
    "Only entries behind this place in the chain.",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999_999, "default": 0},
    _sequence,
    default=0,
)


@operation(
    "GET",
    "/api/v1/audit",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    query=(
        text("actor", "Only what this actor did.", example="key:019a2b3c-0000-7000-8000-000000000001"),
        text("action", "Only this action.", example="plugin.installed"),
        text("target", "Only what was done to this.", example="019a2b3c-0000-7000-8000-000000000002"),
        moment("since", "Only entries of this time or later."),
        moment("until", "Only entries before this time."),
        *PAGE,
    ),
    replies=[Reply(200, "A page.", views.PageView[views.AuditView], examples.page_of(examples.AUDIT))],
)
async def list_audit(exchange: Exchange) -> ASGIApp:
    """List who did what in the tenant, newest first.

    An operator who names no tenant reads the platform's own trail.
    """
    asked = exchange.query
    filters = AuditFilter(asked["actor"], asked["action"], asked["target"], asked["since"], asked["until"])
    found = await audit.entries(exchange.platform, exchange.caller, filters, page_of(asked))
    return json_answer(present.page(found, present.audit_entry))


@operation(
    "GET",
    "/api/v1/audit/head",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    replies=[Reply(200, "The head.", views.AuditHeadView, examples.AUDIT_HEAD)],
)
async def audit_head(exchange: Exchange) -> ASGIApp:
    """Show where the trail's chain ends.

    Write it down where the service cannot reach it: `plugyard audit verify --since-head` then proves that nothing
    before it was changed or cut off since.
    """
    head = await audit.head(exchange.platform, exchange.caller)
    return json_answer(views.AuditHeadView(sequence=head.sequence, hash=head.hash))


@operation(
    "GET",
    "/api/v1/audit/export",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    query=(AFTER,),
    replies=[Reply(200, "The lines, in the chain's order.", media_type=LINES_TYPE)],
)
async def export_audit(exchange: Exchange) -> ASGIApp:
    """Export the trail as JSON lines, each with its hash.

    `docs/audit.md` says how anybody computes the hashes again; `plugyard audit verify` does it. An operator who names
    no tenant exports the platform's own trail.
    """
    require_room(exchange, EXPORTS, MAX_EXPORTS)
    lines = audit.export(exchange.platform, exchange.caller, exchange.query["after"])
    try:
        # The first lines are read before anything is answered, so that a fault is still told as a problem.
        first = await anext(lines)
        require_room(exchange, EXPORTS, MAX_EXPORTS)
    except BaseException:
        await lines.aclose()
        raise
    return ByteStream(counted(exchange, EXPORTS, _encoded(first, lines)), LINES_TYPE)


async def _encoded(first: str, lines: AsyncGenerator[str, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(lines):
        yield first.encode()
        async for piece in lines:
            yield piece.encode()


OPERATIONS = (list_audit, audit_head, export_audit)
