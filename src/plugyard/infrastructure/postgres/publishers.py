"""Publishers, their keys and where versions come from, as rows. Parts of the transactions that `store` opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from plugyard.application.ports import Page, PageRequest
from plugyard.domain.errors import Conflict, NameTaken
from plugyard.domain.imitation import halves, publisher_skeleton, skeleton
from plugyard.domain.signatures import Origin, Publisher, PublisherKey, Signature, Trust
from plugyard.infrastructure.postgres.rows import Session, uuid_or_none
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("publishers")


class AnyPublisherRows(Session):
    """What the tenant's and the operator's transaction have in common."""

    async def publisher(self, tenant_id: str) -> Publisher | None:
        """The name that a tenant publishes by, where it has one."""
        if uuid_or_none(tenant_id) is None:
            return None
        row = await self._one(_SQL["publisher"], {"tenant_id": tenant_id})
        return Publisher(**row) if row else None


class PublisherRows(AnyPublisherRows):
    """The part of `application.ports.Transaction` that knows who stands behind a version."""

    async def add_publisher_key(self, key: PublisherKey) -> None:
        """Adds a key; raises `Conflict` when the tenant has registered it before."""
        try:
            await self._run(_SQL["add publisher key"], _key_row(key))
        except psycopg.errors.UniqueViolation as error:
            raise Conflict("This key was registered before; a key that was revoked stays so.") from error

    async def publisher_key(self, key_id: str, *, lock: bool = False) -> PublisherKey | None:
        """The tenant's own key of that id; with `lock`, nobody else changes it until the transaction ends."""
        row = await self._one(_SQL["publisher key, locked" if lock else "publisher key"], {"id": key_id})
        return _key(row) if row else None

    async def save_publisher_key(self, key: PublisherKey) -> None:
        """Writes what was revoked."""
        await self._run(_SQL["save publisher key"], _key_row(key))

    async def publisher_keys(self, page: PageRequest) -> Page[PublisherKey]:
        """The tenant's own keys, the newest first."""
        from plugyard.infrastructure.postgres import lists

        query = lists.publisher_keys(page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_key(row) for row in rows), cursor)

    async def names_near(self, name: str) -> Mapping[str, str | None]:
        """Names of other tenants' listings that may be alike, each with its publisher's name."""
        beginning, end = halves(name)
        row = {"length": len(skeleton(name)), "beginning": beginning, "end": end[::-1]}
        return {row["name"]: row["publisher"] for row in await self._all(_SQL["names near"], row)}

    async def publishers_read_as(self, name: str) -> Sequence[Publisher]:
        """Other tenants' verified publishers whose names read the same."""
        read = publisher_skeleton(name)
        rows = await self._all(_SQL["verified publishers that read the same"], {"skeleton": read}) if read else []
        return [Publisher(**row) for row in rows]

    async def save_origin(self, origin: Origin) -> None:
        """Writes where a version comes from."""
        row = {
            "version_id": origin.version_id,
            "tenant_id": origin.tenant_id,
            "publisher_id": origin.publisher_id,
            "signature": None if origin.signature is None else Jsonb(origin.signature.to_document()),
        }
        await self._run(_SQL["save origin"], row)

    async def origins(self, version_ids: Sequence[str]) -> Mapping[str, Origin]:
        """Where those of the versions come from of which that was written, by version."""
        ids = [one for one in version_ids if uuid_or_none(one)]
        rows = await self._all(_SQL["origins"], {"ids": ids}) if ids else []
        return {
            row["version_id"]: Origin(
                row["version_id"], row["tenant_id"], row["publisher_id"], signature_of(row["signature"])
            )
            for row in rows
        }

    async def trust(self, version_ids: Sequence[str]) -> Mapping[str, Trust]:
        """Who stands behind each of the versions, at this moment."""
        return await self._trust("trust in versions", version_ids)

    async def trust_of_listings(self, listing_ids: Sequence[str]) -> Mapping[str, Trust]:
        """Who stands behind each of the listings, at this moment."""
        return await self._trust("trust in listings", listing_ids)

    async def _trust(self, title: str, given: Sequence[str]) -> Mapping[str, Trust]:
        ids = [one for one in given if uuid_or_none(one)]
        rows = await self._all(_SQL[title], {"ids": ids}) if ids else []
        return {row["of"]: _trust(row) for row in rows}


class OperatorPublisherRows(AnyPublisherRows):
    """The part of `application.ports.OperatorTransaction` that vouches for publishers."""

    async def save_publisher(self, publisher: Publisher) -> None:
        """Writes a publisher; raises `NameTaken` when an operator vouches for another one of that name."""
        row = {
            "tenant_id": publisher.tenant_id,
            "name": publisher.name,
            "skeleton": publisher_skeleton(publisher.name),
            "verified_at": publisher.verified_at,
            "verified_by": publisher.verified_by,
        }
        try:
            await self._run(_SQL["save publisher"], row)
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken(f"Another publisher is verified under the name {publisher.name!r}.") from error


def signature_of(document: dict[str, Any] | None) -> Signature | None:
    """The signature that a column holds."""
    return None if document is None else Signature.from_document(document)


def _trust(row: dict[str, Any]) -> Trust:
    publisher = None
    if row["publisher_id"] is not None:
        publisher = Publisher(row["publisher_id"], row["publisher_name"], row["verified_at"], row["verified_by"])
    return Trust(publisher, signature_of(row["signature"]), _key(row) if row["id"] is not None else None)


def _key_row(key: PublisherKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in PublisherKey.__dataclass_fields__}


def _key(row: dict[str, Any]) -> PublisherKey:
    fields = {name: row[name] for name in PublisherKey.__dataclass_fields__}
    return PublisherKey(**{**fields, "public_key": bytes(row["public_key"])})
