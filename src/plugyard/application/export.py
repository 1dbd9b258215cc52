"""Everything of a tenant as one archive, streamed: for its admins at any time, and before an operator deletes it.

Records are JSON lines, read page by page, each page in a transaction of its own. Secrets are in none of them: of keys
there is what lists show, of configurations the names of what is secret. The archive ends with ``manifest.json``, which
has a checksum for every file and, for a suspended tenant that an operator exports, the confirmation that deleting asks
for: who has it has received the whole archive.
"""

import base64
import hashlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import msgspec

from plugyard.application.archive import Archive
from plugyard.application.platform import Platform, record_tenant_change, require, tenant_of
from plugyard.application.ports import (
    AuditFilter,
    ExecutionFilter,
    LogFilter,
    Page,
    PageRequest,
    PluginFilter,
    Transaction,
)
from plugyard.application.upload import package_key
from plugyard.domain.errors import NotFound
from plugyard.domain.identity import Action, Caller, Tenant
from plugyard.domain.manifest import Manifest
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion
from plugyard.domain.tenants import TenantState
from plugyard.domain.webhooks import Webhook

FORMAT = "plugyard-tenant-export"
FORMAT_VERSION = 1
_PAGE = 500
_BATCH_BYTES = 64 * 1024
_encode = msgspec.json.Encoder(enc_hook=str).encode
T = TypeVar("T")


async def export_own_tenant(platform: Platform, caller: Caller) -> AsyncGenerator[bytes, None]:
    """The archive of the tenant that the caller acts in, for its admins."""
    require(caller, Action.MANAGE_KEYS)
    return await _begun(platform, caller, tenant_of(caller), confirms=False)


async def export_tenant(platform: Platform, caller: Caller, tenant_id: str) -> AsyncGenerator[bytes, None]:
    """The archive of a tenant, for operators. Raises ``NotFound``."""
    require(caller, Action.MANAGE_TENANTS)
    return await _begun(platform, caller, tenant_id, confirms=True)


def confirmation_of(platform: Platform, tenant: Tenant) -> str:
    """What shows that a tenant was exported while it was suspended as it is now; another suspension has another."""
    since = tenant.suspended_at.isoformat() if tenant.suspended_at is not None else ""
    text = f"exported {tenant.id} suspended {since}".encode()
    return hmac.new(platform.pepper, text, hashlib.sha256).hexdigest()


async def _begun(platform: Platform, caller: Caller, tenant_id: str, *, confirms: bool) -> AsyncGenerator[bytes, None]:
    async with platform.store.for_operator() as tx:
        tenant = await tx.tenant(tenant_id)
        if tenant is None:
            raise NotFound("There is no tenant of this id.")
        await record_tenant_change(platform, tx, caller, "tenant.exported", tenant_id)
    return _Export(platform, tenant, confirms=confirms and tenant.state is TenantState.SUSPENDED).pieces()


class _Export:
    """One archive on its way. ``records`` counts the lines of each file."""

    def __init__(self, platform: Platform, tenant: Tenant, *, confirms: bool) -> None:
        self._platform, self._tenant, self._confirms = platform, tenant, confirms
        self._archive = Archive()
        self._records: dict[str, int] = {}
        self._missing: list[str] = []
        self._plugins: list[str] = []
        self._digests: dict[str, None] = {}

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The archive, piece by piece."""
        parts: list[tuple[str, AsyncIterator[Any]]] = [
            ("tenant", self._one(self._tenant)),
            ("keys", self._pages(lambda tx, page: tx.list_keys(page))),
            ("plugins", self._all_plugins()),
            ("versions", self._all_versions()),
            ("publisher-keys", self._pages(lambda tx, page: tx.publisher_keys(page))),
            ("webhooks", self._pages(lambda tx, page: tx.webhooks(None, page))),
            ("listings", self._all_listings()),
            ("executions", self._of_plugins(lambda tx, one, page: tx.list_executions(one, ExecutionFilter(), page))),
            ("logs", self._of_plugins(lambda tx, one, page: tx.list_logs(one, LogFilter(), page))),
            ("ratings", self._pages(lambda tx, page: tx.own_ratings(page))),
            ("audit", self._pages(lambda tx, page: tx.list_audit(AuditFilter(), page))),
        ]
        for name, records in parts:
            async for piece in self._archive.add(f"{name}.jsonl", self._lines(name, records)):
                yield piece
        for digest in self._digests:
            async for piece in self._object(f"packages/{digest}", package_key(digest)):
                yield piece
        below = f"files/{self._tenant.id}/"
        keys = [key async for key, _ in self._platform.objects.list(below)]
        for key in keys:
            async for piece in self._object(f"files/{key.removeprefix(below)}", key, packed=False):
                yield piece
        async for piece in self._archive.add("manifest.json", self._manifest()):
            yield piece
        yield self._archive.end()

    async def _lines(self, name: str, records: AsyncIterator[Any]) -> AsyncIterator[bytes]:
        count, batch, size = 0, list[bytes](), 0
        async for record in records:
            line = _encode(plain(record)) + b"\n"
            count += 1
            batch.append(line)
            size += len(line)
            if size > _BATCH_BYTES:
                yield b"".join(batch)
                batch, size = [], 0
        self._records[name] = count
        yield b"".join(batch)

    async def _object(self, path: str, key: str, *, packed: bool = True) -> AsyncIterator[bytes]:
        pieces = self._platform.objects.pieces(key)
        try:
            first = await anext(pieces, b"")
        except NotFound:
            # It went while the rest was sent. The manifest says so, and the archive stays whole.
            self._missing.append(path)
            return

        async def all_of_it() -> AsyncIterator[bytes]:
            yield first
            async for piece in pieces:
                yield piece

        async for piece in self._archive.add(path, all_of_it(), packed=packed):
            yield piece

    async def _manifest(self) -> AsyncIterator[bytes]:
        document = {
            "format": FORMAT,
            "formatVersion": FORMAT_VERSION,
            "tenantId": self._tenant.id,
            "slug": self._tenant.slug,
            "exportedAt": self._platform.clock(),
            "records": self._records,
            "files": [{"path": one.path, "bytes": one.size, "sha256": one.sha256} for one in self._archive.files],
            "missing": self._missing,
            "confirmation": confirmation_of(self._platform, self._tenant) if self._confirms else None,
        }
        yield msgspec.json.format(_encode(document), indent=1)

    # --- records ------------------------------------------------------------------------------------------------------

    async def _one(self, value: T) -> AsyncIterator[T]:
        yield value

    async def _pages(self, read: Callable[[Transaction, PageRequest], Awaitable[Page[T]]]) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            async with self._platform.store.for_tenant(self._tenant.id) as tx:
                page = await read(tx, PageRequest(_PAGE, cursor))
            for one in page.items:
                yield one
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _all_plugins(self) -> AsyncIterator[Plugin]:
        for filters in (PluginFilter(sort="createdAt"), PluginFilter(PluginState.UNINSTALLED, sort="createdAt")):
            async for view in self._pages(lambda tx, page, filters=filters: tx.list_plugins(filters, page)):  # type: ignore[misc]
                self._plugins.append(view.plugin.id)
                yield view.plugin

    async def _all_versions(self) -> AsyncIterator[dict[str, Any]]:
        async for version in self._of_plugins(lambda tx, one, page: tx.versions(one, page)):
            self._digests[version.digest] = None
            async with self._platform.store.for_tenant(self._tenant.id) as tx:
                resolved = await tx.dependencies(version.id)
                origin = (await tx.origins([version.id])).get(version.id)
            signature = origin.signature if origin is not None else None
            yield {**plain(version), "dependencies": plain(tuple(resolved)), "signature": plain(signature)}

    async def _all_listings(self) -> AsyncIterator[Any]:
        for plugin_id in self._plugins:
            async with self._platform.store.for_tenant(self._tenant.id) as tx:
                listing = await tx.listing_of(plugin_id)
            if listing is not None:
                yield listing

    async def _of_plugins(
        self, read: Callable[[Transaction, str, PageRequest], Awaitable[Page[T]]]
    ) -> AsyncIterator[T]:
        for plugin_id in self._plugins:
            async for one in self._pages(lambda tx, page, plugin_id=plugin_id: read(tx, plugin_id, page)):  # type: ignore[misc]
                yield one


def plain(value: Any) -> Any:
    """A value of the domain in the words of JSON, without what is secret."""
    if isinstance(value, Manifest):
        return value.document
    if hasattr(value, "to_document"):
        return value.to_document()
    if is_dataclass(value):
        shown = {_camel(one.name): plain(getattr(value, one.name)) for one in fields(value)}
        if isinstance(value, Plugin):
            shown["secrets"] = sorted(value.secrets)
        if isinstance(value, Webhook):
            del shown["secrets"]
        if isinstance(value, PluginVersion):
            shown["version"] = value.number
        return shown
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, frozenset | set):
        return sorted(str(one) for one in value)
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
