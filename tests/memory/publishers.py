"""Publishers, their keys and where versions come from, in memory."""

from collections.abc import Mapping, Sequence

from plugyard.application.ports import Page, PageRequest
from plugyard.domain.errors import Conflict, NameTaken
from plugyard.domain.imitation import publisher_skeleton, skeleton
from plugyard.domain.signatures import Origin, Publisher, PublisherKey, Signature, Trust
from tests.memory import lists
from tests.memory.tables import Tables


class MemoryPublishers:
    """The tenant's part."""

    _tables: Tables
    _tenant_id: str | None

    async def publisher(self, tenant_id: str) -> Publisher | None:
        return self._tables.publishers.get(tenant_id)

    async def add_publisher_key(self, key: PublisherKey) -> None:
        assert key.tenant_id == self._tenant_id
        if (key.tenant_id, key.id) in self._tables.publisher_keys:
            raise Conflict("This key was registered before; a key that was revoked stays so.")
        self._tables.publisher_keys[key.tenant_id, key.id] = key

    async def publisher_key(self, key_id: str, *, lock: bool = False) -> PublisherKey | None:
        return self._tables.publisher_keys.get((self._tenant_id or "", key_id))

    async def save_publisher_key(self, key: PublisherKey) -> None:
        assert key.tenant_id == self._tenant_id
        self._tables.publisher_keys[key.tenant_id, key.id] = key

    async def publisher_keys(self, page: PageRequest) -> Page[PublisherKey]:
        rows = [one for one in self._tables.publisher_keys.values() if one.tenant_id == self._tenant_id]
        return lists.paged("publisher keys", rows, lambda one: (lists.moment(one.created_at), one.id), page)

    async def names_near(self, name: str) -> Mapping[str, str | None]:
        others = [one for one in self._tables.listings.values() if one.tenant_id != self._tenant_id]
        publishers = self._tables.publishers
        return {
            one.name: publishers[one.tenant_id].name if one.tenant_id in publishers else None
            for one in others
            if one.withdrawn_at is None and abs(len(skeleton(one.name)) - len(skeleton(name))) <= 1
        }

    async def publishers_read_as(self, name: str) -> Sequence[Publisher]:
        read = publisher_skeleton(name)
        others = [one for one in self._tables.publishers.values() if one.tenant_id != self._tenant_id]
        return [one for one in others if read and one.verified_at and publisher_skeleton(one.name) == read]

    async def save_origin(self, origin: Origin) -> None:
        assert origin.tenant_id == self._tenant_id
        self._tables.origins[origin.version_id] = origin

    async def origins(self, version_ids: Sequence[str]) -> Mapping[str, Origin]:
        found = (self._tables.origins.get(one) for one in version_ids)
        return {one.version_id: one for one in found if one is not None and one.tenant_id == self._tenant_id}

    async def trust(self, version_ids: Sequence[str]) -> Mapping[str, Trust]:
        found = {}
        for version in (self._tables.versions.get(one) for one in version_ids):
            if version is not None and version.tenant_id == self._tenant_id:
                origin = self._tables.origins.get(version.id)
                publisher_id = origin.publisher_id if origin is not None else version.tenant_id
                found[version.id] = self._behind(publisher_id, origin.signature if origin is not None else None)
        return found

    async def trust_of_listings(self, listing_ids: Sequence[str]) -> Mapping[str, Trust]:
        found = (self._tables.listings.get(one) for one in listing_ids)
        return {one.id: self._behind(one.tenant_id, one.signature) for one in found if one is not None}

    def _behind(self, publisher_id: str, signature: Signature | None) -> Trust:
        key = self._tables.publisher_keys.get((publisher_id, signature.key_id)) if signature is not None else None
        return Trust(self._tables.publishers.get(publisher_id), signature, key)


class MemoryOperatorPublishers:
    """The operator's part."""

    _tables: Tables

    async def publisher(self, tenant_id: str) -> Publisher | None:
        return self._tables.publishers.get(tenant_id)

    async def save_publisher(self, publisher: Publisher) -> None:
        verified = (one for one in self._tables.publishers.values() if one.verified_at is not None)
        if publisher.verified_at is not None and any(
            one.name.lower() == publisher.name.lower() and one.tenant_id != publisher.tenant_id for one in verified
        ):
            raise NameTaken(f"Another publisher is verified under the name {publisher.name!r}.")
        self._tables.publishers[publisher.tenant_id] = publisher
