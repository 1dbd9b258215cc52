"""API keys in memory: a tenant's in its own transaction, those of operators in theirs."""

from dataclasses import replace

from plugyard.application.ports import Page, PageRequest
from plugyard.domain.errors import Conflict
from plugyard.domain.identity import ApiKey
from tests.memory import lists
from tests.memory.tables import Tables


class MemoryKeys:
    """What both kinds of transactions have in common; ``_tenant_id`` is ``None`` for an operator's."""

    _tables: Tables
    _tenant_id: str | None

    async def add_key(self, key: ApiKey, secret_hash: bytes) -> None:
        assert self._tenant_id in (None, key.tenant_id)
        if secret_hash in self._tables.key_hashes:
            raise Conflict("There is a key with this secret already.")
        self._tables.keys[key.id] = key
        self._tables.key_hashes[secret_hash] = key.id

    async def key(self, key_id: str) -> ApiKey | None:
        found = self._tables.keys.get(key_id)
        return found if found is not None and found.tenant_id == self._tenant_id else None

    async def successor_of(self, key_id: str) -> ApiKey | None:
        found = (one for one in self._tables.keys.values() if one.succeeds == key_id)
        return next((one for one in found if one.tenant_id == self._tenant_id), None)

    async def save_key(self, key: ApiKey) -> None:
        assert key.tenant_id == self._tenant_id
        held = self._tables.keys.get(key.id)
        revoked_at = key.revoked_at if held is None or held.revoked_at is None else held.revoked_at
        self._tables.keys[key.id] = replace(key, revoked_at=revoked_at)

    async def list_keys(self, page: PageRequest) -> Page[ApiKey]:
        rows = [one for one in self._tables.keys.values() if one.tenant_id == self._tenant_id]
        return lists.paged("keys", rows, lambda one: (lists.moment(one.created_at), one.id), page)
