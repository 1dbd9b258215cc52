"""The store in memory: the same promises as the database's, kept by one lock and a copy for each transaction."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from plugyard.application.ports import (
    MOST_NAMES,
    AuditEntry,
    OperatorTransaction,
    Page,
    PageRequest,
    Reply,
    StoredLogLine,
    Transaction,
    UsedBy,
)
from plugyard.domain.errors import NameTaken, NotFound, StoreUnavailable
from plugyard.domain.events import Event
from plugyard.domain.execution import Execution
from plugyard.domain.identity import ApiKey, Tenant, TenantPolicy
from plugyard.domain.plugin import PluginState
from plugyard.domain.queue import Delivery, QueuedExecution, QueueEnd
from plugyard.domain.rights import rights_of
from plugyard.domain.secrets import Resealed
from plugyard.domain.tenants import TenantBounds, TenantState
from plugyard.domain.webhooks import Webhook
from tests.memory import lists, queue, trail
from tests.memory.keys import MemoryKeys
from tests.memory.publishers import MemoryOperatorPublishers
from tests.memory.standings import MemoryOperatorStandings
from tests.memory.tables import Tables
from tests.memory.trail import MemoryTrail
from tests.memory.transaction import MemoryTransaction

BEFORE_EVERYTHING = datetime.min.replace(tzinfo=UTC)


class MemoryOperatorTransaction(
    MemoryTrail,
    MemoryKeys,
    MemoryOperatorStandings,
    MemoryOperatorPublishers,
    queue.MemorySchedules,
    queue.MemoryOutbox,
):
    """Works on ``tables`` across tenants."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self._tenant_id = tables, None

    async def add_tenant(self, tenant: Tenant) -> None:
        if await self.tenant_by_slug(tenant.slug) is not None:
            raise NameTaken()
        self._tables.tenants[tenant.id] = tenant

    async def tenant(self, tenant_id: str) -> Tenant | None:
        found = self._tables.tenants.get(tenant_id)
        return None if found is None or found.state is TenantState.DELETED else found

    async def tenant_by_slug(self, slug: str) -> Tenant | None:
        return next((one for one in self._tables.tenants.values() if one.slug == slug), None)

    async def list_tenants(self, page: PageRequest) -> Page[Tenant]:
        rows = [one for one in self._tables.tenants.values() if one.state is not TenantState.DELETED]
        return lists.paged("tenants", rows, lambda one: (lists.moment(one.created_at), one.id), page)

    async def save_policy(self, tenant_id: str, policy: TenantPolicy, at: datetime) -> None:
        if tenant_id in self._tables.tenants:
            self._tables.tenants[tenant_id] = replace(self._tables.tenants[tenant_id], policy=policy)
            self._tables.policy_changed[tenant_id] = at

    async def deny_modules(self, tenant_id: str, names: Sequence[str], at: datetime) -> None:
        if tenant_id not in self._tables.tenants:
            raise NotFound("There is no tenant of this id.")
        self._tables.tenants[tenant_id] = replace(self._tables.tenants[tenant_id], modules_denied=tuple(names))

    async def save_bounds(self, tenant_id: str, bounds: TenantBounds, at: datetime) -> None:
        self._change(tenant_id, bounds=bounds)

    async def save_state(self, tenant_id: str, state: TenantState, reason: str | None, at: datetime) -> None:
        since = self._tables.tenants[tenant_id].suspended_at if tenant_id in self._tables.tenants else None
        since = None if state is TenantState.ACTIVE else since or at
        self._change(tenant_id, state=state, suspended_because=reason, suspended_at=since)

    async def tell_of_halt(self, tenant_id: str) -> None:
        pass  # There are no other replicas of what is in memory.

    async def tenants_being_deleted(self) -> Sequence[str]:
        return [one.id for one in self._tables.tenants.values() if one.state is TenantState.DELETING]

    async def plugins_of(self, tenant_id: str) -> list[str]:
        return sorted(one.id for one in self._tables.plugins.values() if one.tenant_id == tenant_id)

    async def digests_of(self, tenant_id: str) -> list[str]:
        return sorted({one.digest for one in self._tables.versions.values() if one.tenant_id == tenant_id})

    async def erase(self, tenant_id: str, at_most: int) -> int:
        if self._tables.tenants[tenant_id].state is not TenantState.DELETING:
            raise ValueError(f"tenant {tenant_id} is not being deleted")
        tables, erased = self._tables, 0
        mine = {one.id for one in tables.executions.values() if one.tenant_id == tenant_id}
        for line_id in [one.id for one in tables.logs.values() if one.execution_id in mine][:at_most]:
            del tables.logs[line_id]
            erased += 1
        held: list[dict[Any, Any]] = [tables.ratings, tables.listings, tables.keys, tables.versions, tables.plugins]
        held += [tables.origins, tables.publisher_keys, tables.publishers, tables.webhooks]
        held += [tables.executions] if not erased else []
        for rows in held:
            for key in [key for key, one in rows.items() if one.tenant_id == tenant_id][:at_most]:
                del rows[key]
                erased += 1
        for place in [place for place, one in tables.schedules.items() if one.tenant_id == tenant_id]:
            del tables.schedules[place]
        for used in [used for used in tables.used_rights if used.tenant_id == tenant_id]:
            del tables.used_rights[used]
        for place in [place for place in tables.replies if place[0] == tenant_id]:
            del tables.replies[place]
        for entry_id in [one.id for one in tables.queued.values() if one.tenant_id == tenant_id]:
            del tables.queued[entry_id]
            tables.completions.pop(entry_id, None)
            tables.webhooks_due.pop(entry_id, None)
        tables.outbox[:] = [event for event in tables.outbox if event.tenant_id != tenant_id]
        return erased

    async def bury(self, tenant_id: str, at: datetime) -> None:
        gone = self._tables.tenants[tenant_id]
        self._tables.tenants[tenant_id] = Tenant(
            gone.id, f"deleted-{gone.id}", "", gone.created_at, state=TenantState.DELETED
        )

    async def tenant_locked(self, tenant_id: str) -> Tenant | None:
        return await self.tenant(tenant_id)

    def _change(self, tenant_id: str, **changes: Any) -> None:
        if tenant_id not in self._tables.tenants:
            raise NotFound("There is no tenant of this id.")
        self._tables.tenants[tenant_id] = replace(self._tables.tenants[tenant_id], **changes)

    async def secret_keys(self) -> Mapping[str, int]:
        return {"memory": sum(bool(one.secrets) for one in self._tables.plugins.values())}

    async def plain_secrets(self) -> bool:
        return False

    async def reseal_secrets(self, after: str | None, limit: int) -> Resealed:
        return Resealed("memory", 0)  # Nothing here outlives the process, so nothing is sealed.

    async def plugins_to_check(self, ran_since: datetime, limit: int) -> Sequence[tuple[str, str]]:
        ran = {one.plugin_id for one in self._tables.executions.values() if one.started_at >= ran_since}
        due = [one for one in self._tables.plugins.values() if one.state is PluginState.ACTIVE and one.id in ran]
        due.sort(key=lambda one: (one.health.checked_at or BEFORE_EVERYTHING, one.id))
        return [(one.tenant_id, one.id) for one in due[:limit]]

    async def uninstalled(self, plugin_ids: Sequence[str], before: datetime) -> frozenset[str]:
        plugins = [self._tables.plugins[one] for one in plugin_ids if one in self._tables.plugins]
        return frozenset(one.id for one in plugins if one.state is PluginState.UNINSTALLED and one.updated_at < before)

    async def known_digests(self, digests: Sequence[str]) -> frozenset[str]:
        return frozenset(digests) & {one.digest for one in self._tables.versions.values()}


class MemoryStore:
    """Transactions follow one another; each works on a copy that becomes the state when its block ends well."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.available = True
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def _committed(self) -> AsyncIterator[Tables]:
        async with self._one_at_a_time:
            await self.ping()
            working = self.tables.copy()
            yield working
            self.tables = working

    @asynccontextmanager
    async def for_tenant(self, tenant_id: str) -> AsyncIterator[Transaction]:
        """One transaction of one tenant."""
        async with self._committed() as tables:
            yield MemoryTransaction(tables, tenant_id)

    @asynccontextmanager
    async def for_operator(self) -> AsyncIterator[OperatorTransaction]:
        """One transaction across tenants."""
        async with self._committed() as tables:
            yield MemoryOperatorTransaction(tables)

    async def key_by_hash(self, secret_hash: bytes) -> ApiKey | None:
        """The key with this hash, whatever its tenant."""
        await self.ping()
        return self.tables.keys.get(self.tables.key_hashes.get(secret_hash, ""))

    async def webhook_by_hash(self, token_hash: bytes) -> Webhook | None:
        """The webhook with this hash, whatever its tenant."""
        await self.ping()
        return self.tables.webhooks.get(self.tables.webhook_hashes.get(token_hash, ""))

    async def touch_keys(self, used: Mapping[str, datetime]) -> None:
        """Write down when the keys were last used."""
        async with self._committed() as tables:
            for key_id, at in used.items():
                if key_id in tables.keys:
                    tables.keys[key_id] = replace(tables.keys[key_id], last_used_at=at)

    async def touch_rights(self, used: Mapping[UsedBy, datetime]) -> None:
        """Write down when rights were last used."""
        async with self._committed() as tables:
            for one, at in sorted(used.items(), key=lambda item: item[0].right):
                plugin = tables.plugins.get(one.plugin_id)
                if plugin is None or plugin.tenant_id != one.tenant_id:
                    continue
                beside = [
                    held
                    for held in tables.used_rights
                    if held.plugin_id == one.plugin_id and held.right.service is one.right.service
                ]
                spelt_out = not one.right.name or one.right in rights_of(plugin.grants)
                if spelt_out or one in tables.used_rights or len(beside) < MOST_NAMES:
                    tables.used_rights[one] = max(at, tables.used_rights.get(one, at))

    async def ping(self) -> None:
        """Raise ``StoreUnavailable`` where a test has taken the store away."""
        if not self.available:
            raise StoreUnavailable()

    async def keep_records(
        self,
        execution: Execution,
        logs: Sequence[StoredLogLine],
        events: Sequence[Event],
        audit: Sequence[AuditEntry],
        end: QueueEnd | None = None,
        reply: Reply | None = None,
    ) -> None:
        """What the recorder beside this store writes."""
        async with self._committed() as tables:
            if end is not None and not queue.end_run(tables, end):
                return
            if end is None or end.state.over:
                tables.executions.setdefault(execution.id, execution)
            tables.logs.update({line.id: line for line in logs})
            tables.outbox.extend(events)
            for entry in audit:
                trail.add(tables, entry)
            if reply is not None:
                place = (execution.tenant_id, execution.plugin_id, reply.key)
                held = tables.replies.get(place)
                if held is not None and held.execution_id == execution.id:
                    tables.replies[place] = replace(held, response=reply.response)

    async def take(self, now: datetime, at_most: int, per_plugin: int) -> Sequence[QueuedExecution]:
        """What is next for a worker."""
        async with self._committed() as tables:
            return queue.take(tables, now, at_most, per_plugin)

    async def take_webhooks(
        self, now: datetime, at_most: int, of_one: int = 4, under_way: Mapping[str, int] | None = None
    ) -> Sequence[Delivery]:
        """Deliveries that are due."""
        async with self._committed() as tables:
            return queue.take_webhooks(tables, now, at_most, of_one, under_way or {})

    async def give_back(self, execution_ids: Sequence[str]) -> None:
        """A worker has taken these and begins none."""
        async with self._committed() as tables:
            queue.give_back(tables, execution_ids)

    async def lose(self, execution_id: str) -> None:
        """The worker that runs this has died."""
        async with self._committed() as tables:
            tables.lost_runs.add(execution_id)
