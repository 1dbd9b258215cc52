"""A request is a span by its route; its parent is the caller's, where that is well formed."""

from typing import Any

import pytest
from starlette.routing import Route, Router

from plugyard.http.middleware import Around
from plugyard.infrastructure.telemetry import Telemetry
from tests.memory.tracing import MemorySpan, MemoryTracing

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"].endswith("broken"):
        raise RuntimeError("swordfish")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class _Endpoint:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = Route("/things/{id}", _answer, name="/things/{id}")
        await _answer(scope, receive, send)


async def asked(path: str, *parents: str, method: str = "GET") -> list[MemorySpan]:
    tracing = MemoryTracing()
    router = Router([Route("/things/{id}", _Endpoint()), Route("/health/live", _Endpoint())])
    around = Around(router, Telemetry(), lambda: "id", tracing)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"q=swordfish",
        "headers": [(b"traceparent", one.encode("latin-1")) for one in parents],
    }

    async def nothing(message: Any = None) -> Any:
        return {"type": "http.request"}

    await around(scope, nothing, nothing)
    assert all(span.ended for span in tracing.spans)
    assert not any(tracing.believed)
    return tracing.spans


async def test_a_request_is_named_by_its_route_and_says_nothing_of_its_path_or_query() -> None:
    (span,) = await asked("/things/swordfish")
    assert (span.name, span.kind, span.parent, span.failed) == ("GET /things/{id}", "server", None, None)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/things/{id}",
        "http.response.status_code": 200,
    }


async def test_an_error_that_nobody_expected_fails_its_span_by_a_code() -> None:
    (span,) = await asked("/things/broken")
    assert (span.attributes["http.response.status_code"], span.failed) == (500, "internal_error")


async def test_a_method_of_a_callers_own_making_is_not_repeated() -> None:
    (span,) = await asked("/things/1", method="SWORDFISH")
    assert span.name.startswith("_OTHER ")
    assert "SWORDFISH" not in str(span.attributes)


@pytest.mark.parametrize(
    ("parents", "taken"),
    [
        ((GIVEN,), GIVEN),
        ((), None),
        ((GIVEN, GIVEN), None),
        ((GIVEN + "é",), None),
        ((GIVEN.replace("00-4", "ff-4"),), None),
    ],
)
async def test_a_well_formed_parent_is_taken_and_any_other_is_none(parents: tuple[str, ...], taken: str | None) -> None:
    (span,) = await asked("/things/1", *parents)
    assert span.parent == taken


async def test_probes_are_not_traced() -> None:
    assert await asked("/health/live") == []
