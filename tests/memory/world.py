"""One platform around stores in memory, with words for what most tests do: pack, upload, activate, execute."""

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugyard.application.activate import activate
from plugyard.application.executable import Call, Executed
from plugyard.application.execute import execute
from plugyard.application.install import install
from plugyard.application.platform import Platform, Policies
from plugyard.application.ports import Inspection, LoadProbe
from plugyard.application.upload import ReceivedPackage, Uploaded, upload
from plugyard.application.work import work_on
from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import Execution, ExecutionFailure
from plugyard.domain.identity import Caller, Role, Tenant, TenantPolicy
from plugyard.domain.permissions import Service
from plugyard.domain.plugin import PluginView
from plugyard.domain.report import Finding, Report
from tests.memory.chance import CountingIds, SettableClock
from tests.memory.completions import ScriptedWebhooks
from tests.memory.databases import MemoryPluginDatabases
from tests.memory.objects import MemoryObjects
from tests.memory.recorder import MemoryRecorder
from tests.memory.sandbox import ScriptedExecutor, ScriptedInspector
from tests.memory.store import MemoryStore

PEPPER = b"pepper for tests, thirty-two long"


def manifest(name: str = "greeter", version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    """A manifest that is complete enough to be published; ``more`` replaces or adds top-level fields."""
    document: dict[str, Any] = {
        "metadata": {
            "name": name,
            "version": version,
            "description": "Greets people",
            "author": "Ada",
            "category": "utility",
        },
        "runtime": "javascript",
    }
    return {**document, **more}


@dataclass
class World:
    """The platform, the parts that it is made of, and where packages are written."""

    folder: Path
    policies: Policies = field(default_factory=lambda: Policies(taken_over_after_s=0.0))
    clock: SettableClock = field(default_factory=SettableClock)
    ids: CountingIds = field(default_factory=CountingIds)
    store: MemoryStore = field(default_factory=MemoryStore)
    inspector: ScriptedInspector = field(default_factory=ScriptedInspector)
    executor: ScriptedExecutor = field(default_factory=ScriptedExecutor)
    databases: MemoryPluginDatabases = field(default_factory=MemoryPluginDatabases)
    webhooks: ScriptedWebhooks = field(default_factory=ScriptedWebhooks)
    luck: float = 0.0  # what chance gives
    per_plugin: int = 0  # most queued executions of a plugin at a time
    heard: list[Execution] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = MemoryObjects(self.clock)
        self.recorder = MemoryRecorder(self.store)
        self.platform = Platform(
            store=self.store,
            objects=self.objects,
            recorder=self.recorder,
            inspector=self.inspector,
            executor=self.executor,
            databases=self.databases,
            clock=self.clock,
            ids=self.ids,
            pepper=PEPPER,
            policies=self.policies,
            on_execution=self.heard.append,
            chance=lambda: self.luck,
            webhooks=self.webhooks,
        )

    async def tenant(self, slug: str = "acme", *, auto_grant: frozenset[Service] | None = None) -> Tenant:
        """A tenant that is there."""
        policy = TenantPolicy() if auto_grant is None else TenantPolicy(auto_grant)
        tenant = Tenant(self.ids(), slug, slug.title(), self.clock(), policy)
        async with self.store.for_operator() as tx:
            await tx.add_tenant(tenant)
        return tenant

    async def caller(self, slug: str = "acme", role: Role = Role.ADMIN) -> Caller:
        """Somebody of a new tenant."""
        return as_role(role, (await self.tenant(slug)).id)

    def pack(
        self,
        document: dict[str, Any],
        *,
        exports: tuple[str, ...] = ("greet",),
        code: str = "first",
        findings: tuple[Finding, ...] = (),
        load_error: ExecutionFailure | None = None,
    ) -> ReceivedPackage:
        """A package on disk, with what the gate and the sandbox will say of it. Other ``code`` makes other bytes."""
        data = json.dumps([document, exports, code]).encode()
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / digest
        path.write_bytes(data)
        entry = document.get("entry", "index.js")
        bundle = json.dumps({"entry": entry, "files": {entry: code}}).encode()
        report = Report(findings, digest, "zip", len(data), len(code), 2)
        self.inspector.inspections[digest] = Inspection(report, document, entry, bundle)
        self.executor.probes[digest] = LoadProbe(exports) if load_error is None else LoadProbe((), load_error)
        return ReceivedPackage(path, digest, len(data))

    async def upload(
        self,
        caller: Caller,
        document: dict[str, Any] | None = None,
        *,
        activate: bool = False,
        checksum: str | None = None,
        **how: Any,
    ) -> Uploaded:
        """Pack and upload."""
        package = self.pack(document or manifest(), **how)
        return await upload(self.platform, caller, package, checksum=checksum, activate=activate)

    async def active(self, caller: Caller, document: dict[str, Any] | None = None, **how: Any) -> PluginView:
        """A plugin that is installed with all that it asks for, and active."""
        plugin = (await self.upload(caller, document, **how)).view.plugin
        admin = as_role(Role.ADMIN, plugin.tenant_id)
        await install(self.platform, admin, plugin.id, None)
        return await activate(self.platform, admin, plugin.id)

    async def execute(self, caller: Caller, view: PluginView, function: str = "greet", **asked: Any) -> Executed:
        """Execute a function of a plugin."""
        return await execute(self.platform, caller, view.plugin.id, Call(function, **asked))

    async def work(self, at_most: int = 100) -> int:
        """Run everything whose turn has come, as a worker would; how many there were."""
        ran = 0
        while taken := await self.store.take(self.clock(), at_most, self.per_plugin):
            await asyncio.gather(*(work_on(self.platform, entry) for entry in taken))
            ran += len(taken)
        return ran

    async def fetch(self, caller: Caller, plugin_id: str) -> PluginView:
        """The plugin as it is stored now."""
        assert caller.tenant_id is not None
        async with self.store.for_tenant(caller.tenant_id) as tx:
            view = await tx.plugin(plugin_id)
        assert view is not None
        return view

    @property
    def events(self) -> list[Event]:
        """Every event there is, in the order in which they were committed."""
        return self.store.tables.outbox

    @property
    def event_types(self) -> list[EventType]:
        """The types of all events, in order."""
        return [event.type for event in self.events]

    @property
    def actions(self) -> list[str]:
        """What the audit trail says was done, in order."""
        return [entry.action for entry in self.store.tables.audit]

    async def quiet(self) -> None:
        """Wait for what runs in the background, and for whatever it begins."""
        await self.platform.settle()
        await asyncio.sleep(0)


def as_role(role: Role, tenant_id: str | None) -> Caller:
    """Somebody with a role in a tenant."""
    return Caller(f"key:{role.value}", role, tenant_id, "request-1")
