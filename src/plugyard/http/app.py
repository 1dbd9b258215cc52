"""The HTTP application: every operation as a route, and everything around it. ``bootstrap`` calls ``create_app``."""

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from plugyard.application.platform import Platform
from plugyard.http import (
    analytics,
    audit,
    consent,
    deadletters,
    difference,
    endpoints,
    executions,
    health,
    hooks,
    keys,
    marketplace,
    observability,
    openapi,
    operatorkeys,
    plugins,
    publishers,
    quarantine,
    secrets,
    tenants,
    uploads,
    webhooks,
)
from plugyard.http.answers import Answer, encode
from plugyard.http.atonce import AtOnce
from plugyard.http.exchange import Draining, Service
from plugyard.http.health import Ready
from plugyard.http.middleware import Around
from plugyard.http.operations import Methods, Operation, routes_of
from plugyard.http.problems import RouteNotFound
from plugyard.http.rates import RateLimits
from plugyard.http.telemetry import Telemetry

OPERATIONS: tuple[Operation, ...] = (
    *uploads.OPERATIONS,
    *plugins.OPERATIONS,
    *consent.OPERATIONS,
    *difference.OPERATIONS,
    *executions.OPERATIONS,
    *endpoints.OPERATIONS,
    *webhooks.OPERATIONS,
    *observability.OPERATIONS,
    *analytics.OPERATIONS,
    *marketplace.OPERATIONS,
    *keys.OPERATIONS,
    *tenants.OPERATIONS,
    *audit.OPERATIONS,
    *secrets.OPERATIONS,
    *quarantine.OPERATIONS,
    *publishers.OPERATIONS,
    *operatorkeys.OPERATIONS,
    *deadletters.OPERATIONS,
)


def create_app(
    platform: Platform,
    *,
    telemetry: Telemetry,
    ready: Ready,
    upload_folder: Path,
    max_upload_bytes: int,
    version: str,
    limits: RateLimits | None = None,
    at_once: AtOnce | None = None,
    uploads_at_once: AtOnce | None = None,
    api: bool = True,
) -> "Application":
    """The ASGI application. Uploads wait in ``upload_folder``, which is the service's own and swept here.

    Without ``api`` there are the probes and metrics alone, as a worker has them.
    """
    uploads.sweep(upload_folder)
    service = Service(
        platform,
        telemetry,
        upload_folder,
        max_upload_bytes,
        Draining(),
        limits,
        at_once or AtOnce(),
        uploads_at_once or AtOnce(),
    )
    router = Router(
        [
            *((*routes_of(OPERATIONS, service), *hooks.routes_of(service)) if api else ()),
            *health.routes_of(telemetry, service.draining, ready, version),
            *(_document_routes(version) if api else ()),
        ],
        redirect_slashes=False,
        default=_nothing,
    )
    return Application(service, Around(router, telemetry, platform.ids, platform.tracing))


def create_probes(telemetry: Telemetry, ready: Ready, version: str, ids: Callable[[], str]) -> ASGIApp:
    """An application that answers probes and Prometheus alone, for a process that serves nothing else."""
    routes = health.routes_of(telemetry, Draining(), ready, version)
    return Around(Router(routes, redirect_slashes=False, default=_nothing), telemetry, ids)


class Application:
    """What the server calls for each request."""

    def __init__(self, service: Service, answering: ASGIApp) -> None:
        self._service, self._answering = service, answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._answering(scope, receive, send)

    def drain(self) -> None:
        """Say that the service is about to end: streams end within a quarter of a second, and it is no longer ready."""
        self._service.draining.begun = True


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise RouteNotFound()


def _page_policy(page: bytes) -> str:
    """The page is whole in itself: only its own script and style run, and nothing but this service is called."""

    def own(element: bytes) -> str:
        (inner,) = re.findall(b"<%s>(.*?)</%s>" % (element, element), page, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(inner).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {own(b'style')}; script-src {own(b'script')}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _described(version: str) -> bytes:
    return encode(openapi.document(OPERATIONS, version))


def _document_routes(version: str) -> list[Route]:
    page = resources.files("plugyard.http").joinpath("docs.html").read_bytes()
    policy = _page_policy(page)

    async def openapi_json(scope: Scope, receive: Receive, send: Send) -> None:
        headers = (("cache-control", "no-cache"), ("access-control-allow-origin", "*"))
        await Answer(_described(version), headers=headers)(scope, receive, send)

    async def docs(scope: Scope, receive: Receive, send: Send) -> None:
        headers = (("content-security-policy", policy), ("cache-control", "no-cache"))
        await Answer(page, media_type="text/html; charset=utf-8", headers=headers)(scope, receive, send)

    async def home(scope: Scope, receive: Receive, send: Send) -> None:
        answer = Answer(b"", status=307, media_type="text/plain", headers=(("location", "/docs"),))
        await answer(scope, receive, send)

    return [
        Route("/openapi.json", Methods({"GET": openapi_json}), name="/openapi.json"),
        Route("/docs", Methods({"GET": docs}), name="/docs"),
        Route("/", Methods({"GET": home}), name="/"),
    ]
