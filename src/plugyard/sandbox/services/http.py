"""The `http` service: requests of plugins to the hosts that were granted, and to nothing else.

Called by the broker for every `http.request` of a plugin. One call is a short chain of hops: each is judged against
the grant (`egress.fence`), goes to addresses that were judged (`egress.addresses`), and answers with a redirect that is
judged as the next hop, or with what the plugin gets. Nothing is believed: neither the plugin's URL, nor the name
server, nor the host that answers.
"""

import asyncio
import io
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import certifi
from yarl import URL

from plugyard.application.tracing import note
from plugyard.sandbox.services.base import Denied, Scope, Service, ServiceFault
from plugyard.sandbox.services.egress import body, fence, fields
from plugyard.sandbox.services.egress.addresses import (
    AddressRule,
    FencedResolver,
    Lookup,
    Network,
    SystemLookup,
    guarded_socket,
)
from plugyard.sandbox.services.egress.request import Request, read
from plugyard.sandbox.services.egress.target import Target, TargetError, follow

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGENT = "Plugyard"
# A body above this is written from a stream, in pieces: one write of it would hold up the event loop.
_STREAMED_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """Caps of one request and of one tenant's connections. Seconds and bytes.

    `response_bytes` counts the body as it was sent and as it is decoded. `allow_private` is for tests on loopback;
    `extra_denied` holds whatever else is set, and is where the operator's own public addresses belong; `allowed` are
    private networks that plugins may reach all the same. `authorities` is
    a PEM file of certificate authorities in place of certifi's.
    """

    timeout_s: float = 30.0
    connect_timeout_s: float = 10.0
    request_bytes: int = 4 * 1024 * 1024
    response_bytes: int = 4 * 1024 * 1024
    response_header_bytes: int = 64 * 1024
    response_headers: int = 128
    max_redirects: int = 5
    connections_per_host: int = 128
    connections_per_tenant: int = 256
    lookups_per_tenant: int = 4
    kept_tenants: int = 512
    keep_alive_s: float = 15.0
    allow_private: bool = False
    extra_denied: tuple[Network, ...] = ()
    allowed: tuple[Network, ...] = ()
    authorities: Path | None = None


@dataclass(slots=True)
class _Kept:
    """A tenant's connections, and how many calls use them now."""

    session: aiohttp.ClientSession
    calls: int = 0


class HttpEgress(Service):
    """See `base.Service`. The one method is `request`."""

    methods = frozenset({"request"})

    def __init__(self, settings: EgressSettings | None = None, lookup: Lookup | None = None) -> None:
        """`lookup` answers names in place of the system's resolver. Needs a running event loop only when called."""
        self._settings = settings or EgressSettings()
        self._rule = AddressRule(self._settings.allow_private, self._settings.extra_denied, self._settings.allowed)
        self._system = SystemLookup() if lookup is None else None
        self._lookup: Lookup = lookup or self._system  # type: ignore[assignment]
        self._trust = ssl.create_default_context(cafile=str(self._settings.authorities or certifi.where()))
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._closed = False

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Send one request, follow its redirects, and answer with the end of the chain. Raises ServiceFault."""
        if self._closed:
            raise ServiceFault("service_unavailable", "the http service has ended")
        request = read(arguments, self._settings.request_bytes)
        _judge(scope, request.method, request.target)
        loop = asyncio.get_running_loop()
        allowed = min(self._settings.timeout_s, request.timeout_s or self._settings.timeout_s)
        end = min(loop.time() + allowed, scope.deadline)
        try:
            async with self._connections(scope.tenant_id) as session, asyncio.timeout_at(end):
                return await self._chain(session, scope, request)
        except aiohttp.ConnectionTimeoutError as error:
            raise ServiceFault("connection_failed", f"{request.target.host} did not accept a connection") from error
        except TimeoutError as error:
            raise ServiceFault("timed_out", f"{request.target.host} did not answer in time") from error

    async def ended(self, execution_id: str) -> None:
        """Nothing outlives a call: the broker cancels those that are under way, and their connections close."""

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        while self._kept:
            _, kept = self._kept.popitem()
            await kept.session.close()
        if self._system is not None:
            self._system.close()

    # --- one request ---

    async def _chain(self, session: aiohttp.ClientSession, scope: Scope, request: Request) -> dict[str, Any]:
        for hops in range(self._settings.max_redirects + 1):
            answer = await self._hop(session, request, hops)
            if isinstance(answer, dict):
                return answer
            status, location = answer
            request = self._next(scope, request, status, location)
        raise ServiceFault("too_many_redirects", f"more than {self._settings.max_redirects} redirects")

    def _next(self, scope: Scope, request: Request, status: int, location: str) -> Request:
        """The request that a redirect leads to. Raises Denied for one that must not be followed."""
        try:
            target = follow(request.target, location)
        except TargetError as error:
            raise ServiceFault("bad_response", f"{request.target.host} redirects to what is no use: {error}") from error
        if request.target.scheme == "https" and target.scheme == "http":
            raise Denied(f"{request.target.host} redirects from https to http, which is not followed")
        further = request.redirected(status, target)
        try:
            _judge(scope, further.method, target)
        except Denied as denied:
            raise Denied(f"{request.target.host} redirects: {denied.message}") from denied
        return further

    async def _hop(
        self, session: aiohttp.ClientSession, request: Request, hops: int
    ) -> dict[str, Any] | tuple[int, str]:
        """One exchange: the plugin's answer, or the status and location of a redirect to follow."""
        try:
            async with session.request(
                request.method,
                URL(request.target.url, encoded=True),
                headers={"user-agent": _AGENT, **request.headers, "accept-encoding": body.ACCEPTED},
                data=_stream(request.body),
                allow_redirects=False,
            ) as response:
                location = response.headers.get("location")
                if response.status in _REDIRECTS and location is not None and request.redirects != "manual":
                    if request.redirects == "error":
                        raise ServiceFault("redirected", f"{request.target.host} redirects, and redirect is error")
                    return response.status, location
                return await self._told(request, response, hops)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _fault(request.target.host, error) from error

    async def _told(self, request: Request, response: aiohttp.ClientResponse, hops: int) -> dict[str, Any]:
        if response.status < 200:
            raise ServiceFault("bad_response", f"{request.target.host} answers with status {response.status}")
        headers = fields.incoming(response.headers.items(), self._settings.response_header_bytes)
        coding = ", ".join(response.headers.getall("content-encoding", []))
        # The answer to HEAD, and 204 and 304, tell of a body that does not come (RFC 9110, 6.4.1).
        bare = request.method == "HEAD" or response.status in (204, 304)
        pieces = response.content.iter_chunked(64 * 1024)
        content = b"" if bare else await body.read(pieces, coding, self._settings.response_bytes)
        return {
            "status": response.status,
            "statusText": (response.reason or "")[:200].encode("utf-8", "replace").decode(),
            "url": request.target.url,
            "redirected": hops > 0,
            "headers": headers,
            **body.told(content),
        }

    # --- connections ---

    @asynccontextmanager
    async def _connections(self, tenant_id: str) -> AsyncIterator[aiohttp.ClientSession]:
        """The tenant's own connections: kept alive between its calls, never lent to another tenant."""
        kept = self._kept.get(tenant_id)
        if kept is None:
            kept = self._kept[tenant_id] = _Kept(self._session())
        self._kept.move_to_end(tenant_id)
        kept.calls += 1
        try:
            await self._forget_idle_tenants()
            yield kept.session
        finally:
            kept.calls -= 1

    async def _forget_idle_tenants(self) -> None:
        spare = len(self._kept) - self._settings.kept_tenants
        for tenant_id in [key for key, kept in self._kept.items() if not kept.calls][: max(spare, 0)]:
            await self._kept.pop(tenant_id).session.close()

    def _session(self) -> aiohttp.ClientSession:
        settings = self._settings
        connector = aiohttp.TCPConnector(
            ssl=self._trust,
            resolver=FencedResolver(self._lookup, self._rule, settings.lookups_per_tenant),
            socket_factory=guarded_socket(self._rule),
            # Many calls to one host ask once; what is kept for a moment are addresses that were judged.
            ttl_dns_cache=5,
            limit=settings.connections_per_tenant,
            limit_per_host=settings.connections_per_host,
            keepalive_timeout=settings.keep_alive_s,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout_s),
            max_headers=settings.response_headers,
        )


def _judge(scope: Scope, method: str, target: Target) -> None:
    """Ask the fence, and note what it allowed. Raises Denied."""
    entry = fence.judge(scope.grant, method, target)
    note("http.request.method", method)
    # As the grant writes it: what a plugin puts before a wildcard's dot may be anything.
    note("server.address", entry)
    if scope.uses is not None:
        scope.uses.note(scope.grant.service, entry, fence.named(target))


def _stream(content: bytes | None) -> bytes | io.BytesIO | None:
    return content if content is None or len(content) <= _STREAMED_BYTES else io.BytesIO(content)


def _fault(host: str, error: Exception) -> ServiceFault:
    """What a plugin is told of a failed exchange: enough to act on, nothing of the operator's network."""
    if isinstance(error, TimeoutError):
        raise error
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return ServiceFault("tls_failed", f"the certificate of {host} is not valid, or TLS with it failed")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ServiceFault("connection_failed", f"the name {host} has no address")
    if isinstance(error, aiohttp.ClientPayloadError):
        return ServiceFault("bad_response", f"the answer of {host} ended before it was complete")
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return ServiceFault("bad_response", f"the answer of {host} is no valid HTTP, or its headers are too large")
    return ServiceFault("connection_failed", f"no connection to {host}, or it was lost")
