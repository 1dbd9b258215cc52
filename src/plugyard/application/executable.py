"""What is executed: a call, and the plugin as it is now. ``execute``, ``enqueue`` and ``endpoints`` ask for it.

A plugin is read once a moment, for all who call it; the input is decoded once.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from plugyard.application.places import Places
from plugyard.application.platform import Platform, plugin_of, require, tenant_of
from plugyard.application.quotas import know_the_day, quotas_of
from plugyard.application.schemas import deeper_than, violations
from plugyard.application.upload import bundle_key
from plugyard.domain.configuration import with_defaults
from plugyard.domain.errors import (
    FieldError,
    Forbidden,
    FunctionNotFound,
    InvalidInput,
    TenantSuspended,
)
from plugyard.domain.execution import Execution
from plugyard.domain.identity import Action, Caller
from plugyard.domain.limits import EffectiveLimits, RequestedLimits
from plugyard.domain.modules import ModuleRules
from plugyard.domain.permissions import Permission
from plugyard.domain.plugin import Plugin, PluginVersion, Transition
from plugyard.domain.scopes import may_call
from plugyard.domain.tenants import Quotas, TenantBounds, TenantState

NO_LIMITS = RequestedLimits()
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller asks: the function, its input as JSON text, limits of its own, and how to tell repeats.

    ``hops`` counts the events between the first caller and this call; 0 where somebody calls.
    """

    function: str
    input: bytes = b"null"
    timeout_ms: int | None = None
    idempotency_key: str | None = None
    trace: str | None = None
    hops: int = 0
    limits: RequestedLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Executed:
    """What came of it. ``output`` is JSON text where the execution succeeded; ``replayed`` where it had run before."""

    execution: Execution
    output: bytes | None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Executable:
    """A plugin as the hot path wants it; ``executable_of`` makes it."""

    plugin: Plugin
    version: PluginVersion
    functions: frozenset[str]
    configuration: dict[str, Any] = field(repr=False)
    limits: EffectiveLimits  # of a call that asks for none
    grants: tuple[Permission, ...]
    bundle: Callable[[], Awaitable[bytes]]
    modules: ModuleRules
    ceilings: RequestedLimits
    quotas: Quotas
    places: Places | None  # where replicas count its quotas together
    mark: str  # of all that its answers depend on beside the version; empty where it has no endpoints


async def admitted(platform: Platform, caller: Caller, plugin_id: str, call: Call) -> Executable:
    """The plugin that the caller may execute so; raises what ``execute`` does of a request's own faults."""
    require(caller, Action.EXECUTE)
    if caller.scopes and not may_call(caller.scopes, plugin_id, call.function):
        raise Forbidden("The key is narrowed to other functions.")
    executable = await executable_of(platform, tenant_of(caller), plugin_id)
    check_call(platform, executable, call)
    return executable


def check_call(platform: Platform, executable: Executable, call: Call) -> None:
    """Raise unless the plugin, as it is now, executes this: ``WrongState``, ``FunctionNotFound``, ``InvalidInput``."""
    executable.plugin.check(Transition.EXECUTE)
    if call.function not in executable.functions:
        raise FunctionNotFound(call.function, executable.version.functions)
    check_input(platform, executable.version, call)


async def executable_of(platform: Platform, tenant_id: str, plugin_id: str) -> Executable:
    """A plugin as it is executed now, or was a moment ago. Raises ``NotFound``, ``TenantSuspended``."""
    now = platform.clock()
    until = now + timedelta(seconds=platform.policies.plugin_cache_s)
    read = partial(_read_executable, platform, tenant_id, plugin_id)
    found: Executable = await platform.copies.get(("plugin", tenant_id, plugin_id), now, until, read)
    return found


async def _read_executable(platform: Platform, tenant_id: str, plugin_id: str) -> Executable:
    async with platform.store.for_tenant(tenant_id) as tx:
        view = await plugin_of(tx, plugin_id)
        tenant = await tx.tenant(tenant_id)
        quotas = quotas_of(platform, tenant)
        if quotas.executions_per_day is not None:
            await know_the_day(platform, tx, tenant_id)
    if tenant is not None and tenant.state is not TenantState.ACTIVE:
        raise TenantSuspended(tenant.suspended_because)
    plugin, version = view.plugin, view.version
    bounds = tenant.bounds if tenant is not None else TenantBounds()
    # What an operator takes away holds for grants that were given before.
    grants = tuple(grant for grant in plugin.grants if grant.service in bounds.grantable)
    configuration = with_defaults(version.manifest.configuration, {**plugin.configuration, **plugin.secrets})
    return Executable(
        plugin,
        version,
        frozenset(version.functions),
        configuration,
        platform.policies.limits.effective(version.manifest.limits, ceilings=bounds.ceilings),
        grants,
        partial(platform.objects.get, bundle_key(version.digest)),
        # The tenant that executes decides, whoever published the plugin.
        ModuleRules(version.manifest.modules, tenant.modules_denied if tenant is not None else ()),
        bounds.ceilings,
        quotas,
        platform.places if quotas.of_executions else None,
        _mark(configuration, grants) if version.manifest.endpoints else "",
    )


def _mark(configuration: Mapping[str, Any], grants: Sequence[Permission]) -> str:
    """Tells one configuration and set of grants from another; health and the like change nothing of it."""
    return hashlib.sha256(_encode([configuration, [one.to_document() for one in grants]])).hexdigest()


def check_input(platform: Platform, version: PluginVersion, call: Call) -> None:
    """Raise ``InvalidInput`` unless the input is JSON that the function's schema takes."""
    limit = platform.policies.max_input_depth
    try:
        value = msgspec.json.decode(call.input)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("The input is no valid JSON.", [FieldError("/input", str(error)[:200])]) from error
    if deeper_than(limit, call.input, value):
        raise InvalidInput("The input nests too deep.", [FieldError("/input", f"at most {limit} levels")])
    spec = version.manifest.functions.get(call.function)
    if spec is None or spec.input is None:
        return
    errors = violations((version.digest, "function", call.function), spec.input, value, prefix="/input")
    if errors:
        raise InvalidInput(f"The input does not fit the schema of {call.function}.", errors)
