"""The HTTP application around stores in memory, and a client that speaks ASGI to it without a socket."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from plugyard.application.tenants import ensure_key
from plugyard.domain.identity import Role, Tenant
from plugyard.http.app import Application, create_app
from plugyard.http.atonce import AtOnce
from plugyard.http.rates import RateLimits
from plugyard.http.server import Server
from plugyard.infrastructure.telemetry import Telemetry
from tests.memory.world import World, manifest

MAX_UPLOAD = 1_000_000
KEYS = {role: f"plugyard_{role.value}-key-for-tests-of-the-http-side" for role in Role}
MISSING = "019a0000-0000-7000-8000-000000000000"


@dataclass
class Http:
    """A world with the application around it."""

    folder: Path
    world: World = field(init=False)
    telemetry: Telemetry = field(init=False)
    app: Application = field(init=False)
    limits: RateLimits | None = None
    at_once: AtOnce = field(default_factory=AtOnce)
    uploads_at_once: AtOnce = field(default_factory=AtOnce)
    parts: dict[str, str] = field(default_factory=lambda: {"database": "ok"})

    def __post_init__(self) -> None:
        packages = self.folder / "packages"
        packages.mkdir(exist_ok=True)
        self.world = World(packages)
        self.telemetry = Telemetry(lambda: {"idle": 1, "busy": 0})
        self.uploads = self.folder / "uploads"

        async def ready() -> dict[str, str]:
            return self.parts

        self.app = create_app(
            self.world.platform,
            telemetry=self.telemetry,
            ready=ready,
            upload_folder=self.uploads,
            max_upload_bytes=MAX_UPLOAD,
            version="1.0.0",
            limits=self.limits,
            at_once=self.at_once,
            uploads_at_once=self.uploads_at_once,
        )

    async def tenant(self, slug: str = "acme") -> Tenant:
        """A tenant with a key of each role, and the operator's key."""
        tenant = await self.world.tenant(slug)
        for role, secret in KEYS.items():
            of_tenant = None if role is Role.OPERATOR else tenant.id
            name = secret if slug == "acme" else secret + slug
            await ensure_key(self.world.platform, name, name=role.value, role=role, tenant_id=of_tenant)
        return tenant

    @asynccontextmanager
    async def client(self, role: Role | None = Role.ADMIN, *, of: str = "", **headers: str) -> AsyncIterator[Any]:
        """A client with the key of a role, or with none."""
        if role is not None:
            headers["Authorization"] = f"Bearer {KEYS[role]}{of}"
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield client

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The application behind the real server, on a socket; its URL."""
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(self.app)
        serving = asyncio.ensure_future(server.serve([listener]))
        await server.listening.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            await serving

    def package(self, name: str = "greeter", version: str = "1.0.0", **how: Any) -> bytes:
        """The bytes of a package that the scripted gate lets in."""
        fields = how.pop("fields", {})
        return self.world.pack(manifest(name, version, **fields), **how).path.read_bytes()

    async def plugin(self, client: Any, name: str = "greeter", *, activate: bool = True, **how: Any) -> str:
        """The id of a plugin that was uploaded, and activated unless told otherwise."""
        answer = await client.post(
            "/api/v1/plugins/upload",
            files={"package": ("p.zip", self.package(name, **how))},
            data={"activate": json.dumps(activate)},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["plugin"]["id"])


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, with everything that each has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["code"] == code, document
    assert document["status"] == status
    assert document["requestId"] == answer.headers["x-request-id"]
    assert {"type", "title", "detail", "instance", "errors"} <= set(document)
    return document


def pointers(document: dict[str, Any]) -> set[str]:
    """Where the errors are."""
    return {one["pointer"] for one in document["errors"]}
