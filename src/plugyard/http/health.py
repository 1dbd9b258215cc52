"""Whether the service lives and is ready, and what Prometheus scrapes. No key is needed: probes have none."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from plugyard.http.answers import Answer, json_answer
from plugyard.http.exchange import Draining
from plugyard.http.operations import Methods
from plugyard.http.telemetry import Telemetry

# Each part's name, and its state: "ok", or what is wrong with it. A leading "warning:" is shown and stops nothing.
Ready = Callable[[], Awaitable[Mapping[str, Any]]]
WARNING = "warning:"


def away(parts: Mapping[str, Any]) -> list[str]:
    """The parts that keep the service from being ready."""
    return [name for name, state in parts.items() if state != "ok" and not str(state).startswith(WARNING)]


def routes_of(telemetry: Telemetry, draining: Draining, ready: Ready, version: str) -> list[Route]:
    """The routes of this module."""

    async def live(scope: Scope, receive: Receive, send: Send) -> None:
        await json_answer({"status": "live", "version": version})(scope, receive, send)

    async def is_ready(scope: Scope, receive: Receive, send: Send) -> None:
        parts = dict(await ready())
        if draining.begun:
            parts["service"] = "ending"
        missing = away(parts)
        answer = {"status": "unavailable" if missing else "ready", "version": version, "parts": parts}
        await json_answer(answer, status=503 if missing else 200)(scope, receive, send)

    async def scrape(scope: Scope, receive: Receive, send: Send) -> None:
        # Asked at each scrape, so that an alert does not depend on who else asks whether the service is ready.
        telemetry.parts({name: state == "ok" for name, state in (await ready()).items()})
        text, media_type = telemetry.exposition()
        await Answer(text, media_type=media_type)(scope, receive, send)

    return [
        Route("/health/live", Methods({"GET": live}), name="/health/live"),
        Route("/health/ready", Methods({"GET": is_ready}), name="/health/ready"),
        Route("/metrics", Methods({"GET": scrape}), name="/metrics"),
    ]
