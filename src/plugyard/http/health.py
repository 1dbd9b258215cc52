"""Whether the service lives and is ready, and what Prometheus scrapes. No key is needed: probes have none."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from plugyard.http.answers import Answer, json_answer
from plugyard.http.exchange import Service

# Each part's name, and its state: "ok", or what is wrong with it. A leading "warning:" is shown and stops nothing.
Ready = Callable[[], Awaitable[Mapping[str, Any]]]
WARNING = "warning:"


def away(parts: Mapping[str, Any]) -> list[str]:
    """The parts that keep the service from being ready."""
    return [name for name, state in parts.items() if state != "ok" and not str(state).startswith(WARNING)]


def routes_of(service: Service, ready: Ready, version: str) -> list[HTTPRouteHandler]:
    """The routes of this module."""

    async def live(request: Request[Any, Any, Any]) -> ASGIResponse:
        return json_answer({"status": "live", "version": version})

    async def is_ready(request: Request[Any, Any, Any]) -> ASGIResponse:
        parts = dict(await ready())
        if service.draining.begun:
            parts["service"] = "ending"
        missing = away(parts)
        answer = {"status": "unavailable" if missing else "ready", "version": version, "parts": parts}
        return json_answer(answer, status=503 if missing else 200)

    async def scrape(request: Request[Any, Any, Any]) -> ASGIResponse:
        text, media_type = service.telemetry.exposition()
        return Answer(text, media_type=media_type)

    methods: Any = ["GET", "HEAD"]
    return [
        HTTPRouteHandler("/health/live", http_method=methods)(live),
        HTTPRouteHandler("/health/ready", http_method=methods)(is_ready),
        HTTPRouteHandler("/metrics", http_method=methods)(scrape),
    ]
