"""What the OpenAPI document says, held against what the service does, with data that fits it and data that does not.

Every check of schemathesis runs on every operation, over a socket, with the key of each role. Another tenant has things
with a word of its own in them, which no answer may hold.
"""

import asyncio
import io
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from plugyard.application.ports import Inspection
from plugyard.domain.identity import Role
from plugyard.domain.report import Consequence, Finding, Report, Severity
from plugyard.http import openapi
from plugyard.http.app import OPERATIONS
from plugyard.http.server import Server
from tests.integration.http.service import KEYS, Http

schema = schemathesis.openapi.from_dict(openapi.document(OPERATIONS, "1.0.0"))
FOREIGN = "zebrafish"


class RefusingInspector:
    """A gate that takes random bytes for what they are."""

    rules_version = "rules-1"

    async def inspect(self, path: Path, *, digest: str, size: int) -> Inspection:
        """Refuse."""
        finding = Finding(
            "archive.format",
            Severity.ERROR,
            "",
            "No archive.",
            "Nothing can be read.",
            "Pack it.",
            None,
            Consequence.BLOCK,
        )
        return Inspection(Report((finding,), digest))


def _serve(folder: Path, port: int, ended: threading.Event) -> None:
    async def until_told() -> None:
        http = Http(folder)
        await http.tenant()
        await http.tenant("other")
        async with http.client(of="other") as client:
            fields = {"functions": {"greet": {"description": FOREIGN}}}
            plugin = await http.plugin(client, f"{FOREIGN}-plugin", fields=fields)
            await client.post(f"/api/v1/plugins/{plugin}/execute", json={"function": "greet", "input": FOREIGN})
            await client.post("/api/v1/keys", json={"name": FOREIGN, "role": "viewer"})
        object.__setattr__(http.world.platform, "inspector", RefusingInspector())
        server = Server(http.app)
        listener = socket.create_server(("127.0.0.1", port))
        serving = asyncio.ensure_future(server.serve([listener]))
        await asyncio.to_thread(ended.wait)
        server.stop()
        await serving

    asyncio.run(until_told())


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the application listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ended = threading.Event()
    serving = threading.Thread(target=_serve, args=(tmp_path_factory.mktemp("http"), port, ended), daemon=True)
    serving.start()
    found = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 10
    while True:
        try:
            httpx.get(found + "/health/live")
            break
        except httpx.TransportError:
            assert serving.is_alive(), "the application could not start"
            assert time.monotonic() < until, "the application did not start within 10 s"
            time.sleep(0.02)
    yield found
    ended.set()
    serving.join(10)


def _beyond_schemas(case: schemathesis.Case) -> list[Any]:
    """The checks that do not hold where a schema cannot say it all: which bytes are a package, and which cursors were
    given by an earlier page."""
    query = case.query if isinstance(case.query, dict) else {}
    # Which scopes fit a role, which times are to come, and what a signature holds for, no schema says either.
    beyond = ("/api/v1/plugins/upload", "/api/v1/keys", "/api/v1/publisher-keys", "/api/v1/operator-keys")
    # Which window is one, and how long it may be, depends on both of its ends.
    if case.operation.path in ("/api/v1/analytics", "/api/v1/plugins/{pluginId}/metrics"):
        return [positive_data_acceptance]
    if case.operation.path in beyond or case.operation.path.endswith("/revoke") or "cursor" in query:
        return [positive_data_acceptance]
    return []


def _holds_nothing_of_another_tenant(context: Any, response: Any, case: schemathesis.Case) -> None:
    """A check of ours beside schemathesis's own."""
    held = response.content
    if response.headers.get("content-type") == ["application/zip"]:
        with zipfile.ZipFile(io.BytesIO(held)) as archive:
            held = b"".join(archive.read(name) for name in archive.namelist())
    assert FOREIGN.encode() not in held, "the answer holds what is another tenant's"


@pytest.mark.parametrize("role", Role)
@schema.parametrize()
@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_document_and_the_service_agree(case: schemathesis.Case, address: str, role: Role) -> None:
    headers = {"Authorization": f"Bearer {KEYS[role]}"}
    if role is Role.OPERATOR:
        headers["Plugyard-Tenant"] = "acme"
    case.call_and_validate(
        base_url=address,
        headers=headers,
        additional_checks=[_holds_nothing_of_another_tenant],
        excluded_checks=_beyond_schemas(case),
        timeout=10,
    )
