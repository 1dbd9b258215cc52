"""What every use case is given: the ports, the policies, and the trail that each change leaves.

``bootstrap`` makes one ``Platform`` for the service; the tests make their own around stores in memory.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plugyard.application.copies import Copies
from plugyard.application.denialbook import DenialBook
from plugyard.application.endpointcache import EndpointCache
from plugyard.application.places import Places
from plugyard.application.ports import (
    AuditEntry,
    Clock,
    ExecutionRecorder,
    Executor,
    Ids,
    Objects,
    PackageInspector,
    PluginDatabases,
    Store,
    TokenVerifier,
    Trail,
    Transaction,
    Webhooks,
)
from plugyard.application.tracing import Tracing
from plugyard.application.turns import Turns
from plugyard.application.uses import UseBook
from plugyard.domain.errors import Forbidden, NotFound, TenantRequired
from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import Execution
from plugyard.domain.health import SuspensionRule
from plugyard.domain.identity import LOWEST_ROLE, Action, Caller, allows
from plugyard.domain.limits import LimitPolicy
from plugyard.domain.modules import ModuleList
from plugyard.domain.plugin import Plugin, PluginView
from plugyard.domain.queue import Returns
from plugyard.domain.rules import Rule, RuleSettings
from plugyard.domain.scopes import permitted
from plugyard.domain.signatures import Demands
from plugyard.domain.tallies import Tallies
from plugyard.domain.tenants import Quotas
from plugyard.domain.tokens import TokenRules
from plugyard.domain.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What the operator sets for everyone. Times in seconds."""

    limits: LimitPolicy = field(default_factory=LimitPolicy)
    suspension: SuspensionRule = field(default_factory=SuspensionRule)
    taken_over_after_s: float = 2.0
    """How long a replica that claimed something must be seen to be gone; one that lost no more than its connection to
    the database is back within that time."""
    health_window_s: int = 3600
    key_cache_s: float = 1.0
    plugin_cache_s: float = 1.0
    max_input_depth: int = 200
    modules: ModuleList = field(default_factory=ModuleList)
    platform_version: Version = field(default_factory=lambda: Version.parse("1.0.0"))
    rules: RuleSettings = field(default_factory=RuleSettings)
    every_rule: Mapping[str, Rule] = field(default_factory=dict)  # by id, as they are before an operator sets any
    tokens: TokenRules | None = None
    token_cache_s: float = 10.0
    rescan_suspends: bool = (
        False  # whether a weighty finding of a later check suspends the plugins that use the version
    )
    rehearsal_ms: int = 3_000  # for the examples of one package, all together; 0 runs none
    unused_rights_days: int = 30
    quotas: Quotas = field(default_factory=Quotas)  # of a tenant for which nothing else was decided
    queue_input_bytes: int = 1 << 20  # largest input of an execution that waits
    queue_result_bytes: int = 1 << 20  # largest result of one that is kept
    queued_per_tenant: int = 100_000
    demands: Demands = field(default_factory=Demands)  # of every tenant; its own policy may demand more
    endpoint_body_bytes: int = 1_000_000  # of a request to a plugin's own endpoint
    webhook_window_s: int = 300  # how old what a webhook signs may be


@dataclass(frozen=True)
class Platform:
    """The ports and policies that the use cases work with, and what they share while the service runs."""

    store: Store
    objects: Objects
    recorder: ExecutionRecorder
    inspector: PackageInspector
    executor: Executor
    databases: PluginDatabases
    clock: Clock
    ids: Ids
    pepper: bytes  # keys the hashes of API keys; losing it makes every key unusable
    policies: Policies = field(default_factory=Policies)
    on_execution: Callable[[Execution], None] = lambda execution: None
    running: dict[str, Execution] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Tallies)
    erasing: set[str] = field(default_factory=set)  # tenants whose data goes at this moment
    chance: Callable[[], float] = random.random  # from 0 to 1, for the spreading of retries
    webhooks: Webhooks | None = None  # where nobody is ever called, none is taken
    returns: Returns = field(default_factory=Returns)  # of queued executions that had no room by a quota
    told_to_end: set[str] = field(default_factory=set)  # queued executions that run here and were cancelled
    tokens: TokenVerifier | None = None
    on_tenant_gone: Callable[[str], Awaitable[None]] | None = None
    places: Places | None = None  # of quotas, where replicas count them together
    # Suspended tenants: why (empty where another replica was told), and until when what was read before may still say
    # otherwise.
    halted: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)
    known_tokens: dict[bytes, Any] = field(default_factory=dict)  # by their hash
    watched: dict[str, bool] = field(default_factory=dict)  # plugins under check, and whether one failed meanwhile
    uses: UseBook = field(default_factory=UseBook)
    endpoint_cache: EndpointCache = field(default_factory=lambda: EndpointCache(0))
    denials: DenialBook = field(default_factory=DenialBook)
    tracing: Tracing | None = None
    long_reads: Turns = field(default_factory=lambda: Turns(4))  # of a store's 20 connections
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for; ``settle`` waits for all of it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def settle(self) -> None:
        """Wait for the work in the background, as the service does before it ends."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)


def require(caller: Caller, action: Action) -> None:
    """Raise ``Forbidden`` unless the caller's role may do the action."""
    if not allows(caller.role, action):
        wanted = LOWEST_ROLE[action].value
        raise Forbidden(f"This needs the role {wanted}; the key has the role {caller.role.value}.")


def require_scope(caller: Caller, action: Action | None, plugin_id: str | None) -> None:
    """Raise ``Forbidden`` unless the caller's scopes let through what is done to a plugin, or to none by name.

    ``http/operations.py`` calls it for every operation with the plugin that its path names, so that none can forget it;
    a use case calls it for what it does beyond the operation's own action, as consenting on the way.
    """
    if caller.scopes and not permitted(caller.scopes, action.value if action is not None else None, plugin_id):
        allowed = "; ".join(str(one) for one in caller.scopes)
        raise Forbidden(f"The key is narrowed and does not allow this. It allows: {allowed}.")


def may(caller: Caller, action: Action, plugin_id: str) -> bool:
    """Whether the caller's role and scopes allow something to be done to a plugin beside what was asked for."""
    return allows(caller.role, action) and permitted(caller.scopes, action.value, plugin_id)


def tenant_of(caller: Caller) -> str:
    """The tenant that the caller acts in; raises ``TenantRequired`` for an operator who named none."""
    if caller.tenant_id is None:
        raise TenantRequired()
    return caller.tenant_id


async def plugin_of(tx: Transaction, plugin_id: str, *, lock: bool = False) -> PluginView:
    """The plugin, or ``NotFound``: the same words for one that is missing and one of another tenant."""
    view = await tx.plugin(plugin_id, lock=lock)
    if view is None:
        raise NotFound("There is no plugin of this id.")
    return view


def event(
    platform: Platform,
    type_: EventType,
    plugin: Plugin,
    data: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> Event:
    """An event of this plugin, happening now unless it is said when."""
    facts = {"name": plugin.name, "state": plugin.state.value, **(data or {})}
    return Event(platform.ids(), type_, plugin.tenant_id, plugin.id, at or platform.clock(), facts)


def entry(
    platform: Platform, caller: Caller, action: str, target: str, detail: Mapping[str, Any] | None = None
) -> AuditEntry:
    """An entry of the audit trail: this caller, now."""
    return AuditEntry(
        platform.ids(),
        caller.tenant_id,
        platform.clock(),
        caller.actor,
        action,
        target,
        dict(detail or {}),
        caller.request_id,
    )


async def record_change(
    platform: Platform,
    tx: Transaction,
    caller: Caller,
    type_: EventType,
    plugin: Plugin,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Leave the event and the audit entry of a change, in the transaction that makes it."""
    await tx.emit(event(platform, type_, plugin, data))
    await tx.audit(entry(platform, caller, type_.value, plugin.id, data))


async def record_tenant_change(
    platform: Platform,
    tx: Trail,
    caller: Caller,
    action: str,
    target: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Leave the audit entry of a change that is no plugin's."""
    await tx.audit(entry(platform, caller, action, target, detail))
