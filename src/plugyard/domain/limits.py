"""Resource limits: what a plugin asks, what the operator allows, what one call may use. The lowest wins."""

from dataclasses import dataclass

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class RequestedLimits:
    """What a manifest or a call asks for; ``None`` where it asks for nothing. Megabytes and milliseconds."""

    memory_mb: int | None = None
    timeout_ms: int | None = None
    cpu_ms: int | None = None


@dataclass(frozen=True, slots=True)
class EffectiveLimits:
    """What holds for one execution: bytes, milliseconds, lines and calls."""

    memory_bytes: int
    timeout_ms: int
    cpu_ms: int
    output_bytes: int
    log_lines: int
    log_bytes: int
    service_calls: int = 1_000
    service_bytes: int = 16 * MEGABYTE


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """The operator's defaults and ceilings."""

    default_memory_mb: int = 128
    max_memory_mb: int = 1024
    default_timeout_ms: int = 30_000
    max_timeout_ms: int = 300_000
    max_cpu_ms: int = 300_000
    output_bytes: int = 4 * MEGABYTE
    log_lines: int = 1_000
    log_bytes: int = 256 * 1024
    service_calls: int = 1_000
    service_bytes: int = 16 * MEGABYTE

    def effective(self, *asked: RequestedLimits) -> EffectiveLimits:
        """The limits for one execution: of all that is asked and the ceiling, the lowest of each kind."""

        def lowest(values: list[int | None], default: int, ceiling: int) -> int:
            given = [value for value in values if value is not None]
            return min(*given, ceiling) if given else min(default, ceiling)

        timeout_ms = lowest([one.timeout_ms for one in asked], self.default_timeout_ms, self.max_timeout_ms)
        return EffectiveLimits(
            memory_bytes=MEGABYTE
            * lowest([one.memory_mb for one in asked], self.default_memory_mb, self.max_memory_mb),
            timeout_ms=timeout_ms,
            cpu_ms=lowest([one.cpu_ms for one in asked], timeout_ms, self.max_cpu_ms),
            output_bytes=self.output_bytes,
            log_lines=self.log_lines,
            log_bytes=self.log_bytes,
            service_calls=self.service_calls,
            service_bytes=self.service_bytes,
        )
