"""The quarantine and the rescan over HTTP, for operators: what waits, a look at it, and the word on it."""

from collections.abc import AsyncGenerator

from starlette.types import ASGIApp

from plugyard.application import quarantine, rescan
from plugyard.application.ports import StandingFilter
from plugyard.domain.identity import Action
from plugyard.domain.standing import StandingState
from plugyard.http import commands, examples, present, suspects, views
from plugyard.http.answers import Download, json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, choice, page_of, text

_TAG = "Quarantine"
_ONE = "/api/v1/quarantine/{versionId}"
_BYTES = "application/octet-stream"


@operation(
    "GET",
    "/api/v1/quarantine",
    tag=_TAG,
    action=Action.REVIEW,
    query=(
        choice("state", "Which versions.", list(StandingState), default="quarantined"),
        text("tenant", "Only those of this tenant, by its id."),
        text("name", "Only versions of plugins with this name.", example="invoice-totals"),
        *PAGE,
    ),
    replies=[Reply(200, "A page.", views.PageView[views.SuspectView], examples.page_of(examples.SUSPECT))],
)
async def list_quarantine(exchange: Exchange) -> ASGIApp:
    """List the versions in quarantine, of all tenants, the longest waiting first."""
    asked = exchange.query
    filters = StandingFilter(StandingState(asked["state"]), asked["tenant"], asked["name"])
    found = await quarantine.suspects(exchange.platform, exchange.caller, filters, page_of(asked))
    return json_answer(present.page(found, suspects.suspect))


@operation(
    "GET",
    _ONE,
    tag=_TAG,
    action=Action.REVIEW,
    replies=[Reply(200, "The version.", views.SuspectDetail, examples.SUSPECT_DETAIL)],
    problems=["not_found"],
)
async def get_quarantined(exchange: Exchange) -> ASGIApp:
    """Show one version of the quarantine with its report."""
    found = await quarantine.suspect(exchange.platform, exchange.caller, exchange.id("versionId"))
    return json_answer(suspects.suspect_detail(found))


@operation(
    "GET",
    _ONE + "/package",
    tag=_TAG,
    action=Action.REVIEW,
    replies=[
        Reply(200, "The package.", media_type=_BYTES, headers={"Content-Disposition": "A name to save it by."}),
    ],
    problems=["not_found"],
)
async def get_quarantined_package(exchange: Exchange) -> ASGIApp:
    """Download the package of a version in quarantine, for a look at it.

    It is what its author uploaded, byte for byte: open it with care.
    """
    standing, data = await quarantine.package(exchange.platform, exchange.caller, exchange.id("versionId"))

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield data

    return Download(pieces(), _BYTES, f"{standing.name}-{standing.version}.quarantined")


@operation(
    "POST",
    _ONE + "/release",
    tag=_TAG,
    action=Action.REVIEW,
    body=Body(commands.Decide, examples={"a reason": {"reason": "The eval is that of a template engine."}}),
    replies=[Reply(200, "The version as it stands now.", views.SuspectView, examples.SUSPECT)],
    problems=["not_found", "conflict"],
)
async def release_quarantined(exchange: Exchange) -> ASGIApp:
    """Let the version be used, with a reason that its tenant reads."""
    asked = await exchange.body(commands.Decide)
    version_id = exchange.id("versionId")
    found = await quarantine.release(exchange.platform, exchange.caller, version_id, asked.reason)
    return json_answer(suspects.suspect(found))


@operation(
    "POST",
    _ONE + "/refuse",
    tag=_TAG,
    action=Action.REVIEW,
    body=Body(commands.Decide, examples={"a reason": {"reason": "It sends its configuration to a tunnel."}}),
    replies=[Reply(200, "The version as it stands now.", views.SuspectView, examples.SUSPECT)],
    problems=["not_found", "conflict"],
)
async def refuse_quarantined(exchange: Exchange) -> ASGIApp:
    """Never let the version be used, with a reason that its tenant reads."""
    asked = await exchange.body(commands.Decide)
    version_id = exchange.id("versionId")
    found = await quarantine.refuse(exchange.platform, exchange.caller, version_id, asked.reason)
    return json_answer(suspects.suspect(found))


@operation(
    "GET",
    "/api/v1/rescan",
    tag=_TAG,
    action=Action.REVIEW,
    query=PAGE,
    replies=[Reply(200, "How far it has come, and a page of what was found.", views.RescanView, examples.RESCAN)],
)
async def get_rescan(exchange: Exchange) -> ASGIApp:
    """Show how far stored versions were checked again by the rules of now, and what was found in those in use."""
    found = await rescan.progress(exchange.platform, exchange.caller, page_of(exchange.query))
    return json_answer(suspects.rescan(found))


@operation(
    "POST",
    "/api/v1/rescan",
    tag=_TAG,
    action=Action.REVIEW,
    replies=[Reply(202, "It is under way.", views.RescanView, examples.RESCAN)],
)
async def demand_rescan(exchange: Exchange) -> ASGIApp:
    """Have every version in use checked again, in the background."""
    return json_answer(suspects.rescan(await rescan.demand(exchange.platform, exchange.caller)), status=202)


OPERATIONS = (
    list_quarantine,
    get_quarantined,
    get_quarantined_package,
    release_quarantined,
    refuse_quarantined,
    get_rescan,
    demand_rescan,
)
