"""The HTTP application: every operation as a route, and everything around it. ``bootstrap.py`` calls ``create_app``."""

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import structlog
from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from plugyard.application.platform import Platform
from plugyard.http import executions, health, keys, marketplace, observability, openapi, plugins, tenants, uploads
from plugyard.http.answers import Answer, encode
from plugyard.http.exchange import Draining, Service
from plugyard.http.health import Ready
from plugyard.http.middleware import Around, instance_of
from plugyard.http.operations import Operation, routes_of
from plugyard.http.problems import MEDIA_TYPE, problem_of
from plugyard.http.telemetry import Telemetry

OPERATIONS: tuple[Operation, ...] = (
    *uploads.OPERATIONS,
    *plugins.OPERATIONS,
    *executions.OPERATIONS,
    *observability.OPERATIONS,
    *marketplace.OPERATIONS,
    *keys.OPERATIONS,
    *tenants.OPERATIONS,
)
_log = structlog.get_logger("plugyard.http")


def create_app(
    platform: Platform,
    *,
    telemetry: Telemetry,
    ready: Ready,
    upload_folder: Path,
    max_upload_bytes: int,
    version: str,
) -> Litestar:
    """The ASGI application. Uploads wait in ``upload_folder``, which is the service's own and swept here."""
    uploads.sweep(upload_folder)
    service = Service(platform, telemetry, upload_folder, max_upload_bytes, Draining())
    app = Litestar(
        route_handlers=[
            *routes_of((*OPERATIONS, *executions.UNLISTED), service),
            *health.routes_of(service, ready, version),
            *_document_routes(version),
        ],
        openapi_config=None,
        exception_handlers={Exception: _problem},
        logging_config=None,
        request_max_body_size=None,  # each operation reads its own body with its own cap
    )
    app.state.service = service
    app.asgi_handler = Around(app.asgi_handler, telemetry, platform.ids)
    return app


def drain(app: Litestar) -> None:
    """Say that the service is about to end: streams end within a quarter of a second, and it is no longer ready."""
    app.state.service.draining.begun = True


def _problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Whatever was raised, as a problem document."""
    scope: Any = request.scope
    problem = problem_of(error, instance=instance_of(scope), request_id=scope["state"]["request_id"])
    scope["state"]["problem"] = problem.code
    if problem.status == 500:
        _log.error("the request met an error that nobody expected", exc_info=error)
    body = b"" if scope["method"] == "HEAD" else problem.body
    return Response(body, status_code=problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE)


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


def _document_routes(version: str) -> list[HTTPRouteHandler]:
    described = _described(version)
    page = resources.files("plugyard.http").joinpath("docs.html").read_bytes()
    policy = _page_policy(page)

    async def openapi_json(request: Request[Any, Any, Any]) -> ASGIResponse:
        return Answer(described, headers=(("cache-control", "no-cache"), ("access-control-allow-origin", "*")))

    async def docs(request: Request[Any, Any, Any]) -> ASGIResponse:
        headers = (("content-security-policy", policy), ("cache-control", "no-cache"))
        return Answer(page, media_type="text/html; charset=utf-8", headers=headers)

    async def home(request: Request[Any, Any, Any]) -> ASGIResponse:
        return Answer(b"", status=307, media_type="text/plain", headers=(("location", "/docs"),))

    methods: Any = ["GET", "HEAD"]
    return [
        HTTPRouteHandler("/openapi.json", http_method=methods)(openapi_json),
        HTTPRouteHandler("/docs", http_method=methods)(docs),
        HTTPRouteHandler("/", http_method=methods)(home),
    ]
