"""The settings as the parts understand them: each part has limits of its own, in its own units."""

from ipaddress import ip_network

import structlog

from plugyard import __version__
from plugyard.application.platform import Policies
from plugyard.bootstrap.identity import token_rules
from plugyard.bootstrap.keys import CannotStart
from plugyard.domain.health import SuspensionRule
from plugyard.domain.limits import LimitPolicy
from plugyard.domain.rules import RuleSettings
from plugyard.domain.signatures import Demands, SignatureDemand
from plugyard.domain.tenants import Quotas
from plugyard.domain.versions import Version
from plugyard.gate.limits import GateLimits
from plugyard.gate.malware import MalwareFile
from plugyard.http.rates import RateClass, RateLimits, Rates
from plugyard.sandbox.outside.guests import module_list
from plugyard.sandbox.outside.pool import PoolSettings
from plugyard.settings import MEGABYTE, Settings

log = structlog.get_logger("plugyard")


def policies(settings: Settings) -> Policies:
    """What the use cases keep to."""
    # The checks are loaded while the processes start; whoever starts those does not wait for them.
    from plugyard.gate.rules import RULES

    return Policies(
        limits=limit_policy(settings),
        suspension=SuspensionRule(settings.suspend_minimum, settings.suspend_ratio, settings.suspend_window_s),
        health_window_s=settings.health_window_s,
        modules=module_list(settings.modules_denied),
        platform_version=Version.parse(__version__),
        rules=RuleSettings.of(settings.gate_rules, RULES),
        every_rule=RULES,
        tokens=token_rules(settings),
        rescan_suspends=settings.rescan_suspends,
        rehearsal_ms=settings.rehearsal_ms,
        unused_rights_days=settings.unused_rights_days,
        quotas=quotas(settings),
        queue_input_bytes=settings.queue_input_kb * 1024,
        queue_result_bytes=settings.queue_result_kb * 1024,
        queued_per_tenant=settings.queued_per_tenant,
        demands=Demands(SignatureDemand(settings.require_signature), settings.require_verified_publisher),
        endpoint_body_bytes=settings.endpoint_body_kb * 1000,
        webhook_window_s=settings.webhook_window_s,
    )


def quotas(settings: Settings) -> Quotas:
    """What a tenant may have, unless an operator decides otherwise for it; 0 is no quota."""
    return Quotas(
        settings.quota_plugins or None,
        settings.quota_storage_mb * MEGABYTE or None,
        settings.quota_executions_per_minute or None,
        settings.quota_executions_per_day or None,
        settings.quota_concurrent_executions or None,
    )


def limit_policy(settings: Settings) -> LimitPolicy:
    """What an execution may ask for."""
    return LimitPolicy(
        settings.default_memory_mb,
        settings.max_memory_mb,
        settings.default_timeout_ms,
        settings.max_timeout_ms,
        settings.max_cpu_ms,
        settings.max_output_kb * 1024,
        settings.max_log_lines,
        settings.max_log_kb * 1024,
        settings.max_service_calls,
        settings.max_service_mb * MEGABYTE,
        settings.service_calls_per_s,
        settings.max_in_flight,
        settings.default_stack_kb,
        settings.max_stack_kb,
        settings.default_startup_ms,
        settings.max_startup_ms,
    )


def malware_file(settings: Settings) -> MalwareFile | None:
    """The operator's list of malware, read; raises ``CannotStart`` where a list is named that cannot be."""
    if settings.malware_list is None:
        return None
    try:
        found = MalwareFile(settings.malware_list, lambda sentence: log.warning("malware list", trouble=sentence))
    except OSError as error:
        raise CannotStart(f"--malware-list: the file cannot be read: {error}") from error
    log.info("malware list", entries=found.current().size)
    return found


def rate_limits(settings: Settings, rates: Rates) -> RateLimits:
    """How many requests of which kind may come within a minute."""
    return RateLimits(
        rates,
        per_key={
            RateClass.READ: settings.rate_reads_per_key,
            RateClass.WRITE: settings.rate_writes_per_key,
            RateClass.EXECUTE: settings.rate_executions_per_key,
            RateClass.UPLOAD: settings.rate_uploads_per_key,
        },
        per_tenant={
            RateClass.READ: settings.rate_reads_per_tenant,
            RateClass.WRITE: settings.rate_writes_per_tenant,
            RateClass.EXECUTE: settings.rate_executions_per_tenant,
            RateClass.UPLOAD: settings.rate_uploads_per_tenant,
        },
        failures=settings.rate_failed_authentications,
        trusted=tuple(map(ip_network, settings.proxies_trusted)),
    )


def gate_limits(settings: Settings) -> GateLimits:
    """What a package may be."""
    return GateLimits(
        packed_bytes=settings.max_package_mb * MEGABYTE,
        unpacked_bytes=settings.max_unpacked_mb * MEGABYTE,
        entry_bytes=min(settings.max_unpacked_mb, 100) * MEGABYTE,
        entries=settings.max_entries,
        bundle_bytes=settings.max_bundle_mb * MEGABYTE,
        deadline_s=settings.gate_timeout_s,
    )


def pool_settings(settings: Settings) -> PoolSettings:
    """How many environments there may be."""
    return PoolSettings(
        spares=settings.spares,
        max_environments=settings.max_environments,
        memory_bytes=settings.environment_memory_mb * MEGABYTE,
        queue_per_tenant=settings.queue_per_tenant,
        idle_s=settings.idle_s,
        max_age_s=settings.max_age_s,
        share=settings.tenant_share,
    )
