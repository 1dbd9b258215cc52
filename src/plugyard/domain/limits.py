"""Resource limits: what a plugin asks, what the operator allows, what one call may use. The lowest wins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KILOBYTE, MEGABYTE = 1 << 10, 1 << 20
DEFAULT_STACK_KB = 512


@dataclass(frozen=True, slots=True)
class RequestedLimits:
    """What a manifest or a call asks for; ``None`` where it asks for nothing. The unit ends the name of a field."""

    memory_mb: int | None = None
    timeout_ms: int | None = None
    cpu_ms: int | None = None
    output_kb: int | None = None
    log_lines: int | None = None
    log_kb: int | None = None
    service_calls: int | None = None
    service_rate: int | None = None
    service_kb: int | None = None
    in_flight: int | None = None
    stack_kb: int | None = None
    startup_ms: int | None = None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "RequestedLimits":
        """Read the form that manifests and calls share; other fields are left alone."""
        return cls(**{field: document[name] for name, field in WORDS.items() if name in document})

    def to_document(self) -> dict[str, int]:
        """The same form again, without what was not asked for."""
        asked = {name: getattr(self, field) for name, field in WORDS.items()}
        return {name: value for name, value in asked.items() if value is not None}


WORDS = {
    "memory": "memory_mb",
    "timeout": "timeout_ms",
    "cpu": "cpu_ms",
    "output": "output_kb",
    "logLines": "log_lines",
    "logSize": "log_kb",
    "serviceCalls": "service_calls",
    "serviceRate": "service_rate",
    "serviceSize": "service_kb",
    "inFlight": "in_flight",
    "stack": "stack_kb",
    "startup": "startup_ms",
}
"""What authors and callers write, and the field of ``RequestedLimits`` that it becomes."""


NO_CEILINGS = RequestedLimits()


@dataclass(frozen=True, slots=True)
class EffectiveLimits:
    """What holds for one execution: bytes, milliseconds, lines, calls, and calls in a second."""

    memory_bytes: int
    timeout_ms: int
    cpu_ms: int
    output_bytes: int
    log_lines: int
    log_bytes: int
    service_calls: int = 1_000
    service_bytes: int = 16 * MEGABYTE
    service_rate: int = 2_000
    in_flight: int = 16
    stack_bytes: int = DEFAULT_STACK_KB * KILOBYTE
    startup_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """The operator's defaults and ceilings. Where there is no default, it is the ceiling."""

    default_memory_mb: int = 128
    max_memory_mb: int = 1024
    default_timeout_ms: int = 30_000
    max_timeout_ms: int = 300_000
    max_cpu_ms: int = 300_000
    output_bytes: int = 4 * MEGABYTE
    log_lines: int = 1_000
    log_bytes: int = 256 * KILOBYTE
    service_calls: int = 1_000
    service_bytes: int = 16 * MEGABYTE
    service_rate: int = 2_000
    in_flight: int = 16
    default_stack_kb: int = DEFAULT_STACK_KB
    max_stack_kb: int = 2_048
    default_startup_ms: int = 10_000
    max_startup_ms: int = 60_000

    @property
    def stack_bytes(self) -> int:
        """The stack of who asks for none, which is what waiting environments are made with."""
        return min(self.default_stack_kb, self.max_stack_kb) * KILOBYTE

    def effective(self, *asked: RequestedLimits, ceilings: RequestedLimits = NO_CEILINGS) -> EffectiveLimits:
        """The limits for one execution: of all that is asked and of the ceilings, the lowest of each kind.

        ``ceilings`` are the tenant's, beside those of the platform. A default is not raised to them.
        """

        def lowest(name: str, ceiling: int, default: int | None = None, unit: int = 1) -> int:
            lower = getattr(ceilings, name)
            ceiling = ceiling if lower is None else min(ceiling, unit * lower)
            given: list[int] = [unit * value for one in asked if (value := getattr(one, name)) is not None]
            return min([*(given or [ceiling if default is None else unit * default]), ceiling])

        timeout_ms = lowest("timeout_ms", self.max_timeout_ms, self.default_timeout_ms)
        return EffectiveLimits(
            memory_bytes=lowest("memory_mb", self.max_memory_mb * MEGABYTE, self.default_memory_mb, MEGABYTE),
            timeout_ms=timeout_ms,
            cpu_ms=lowest("cpu_ms", self.max_cpu_ms, timeout_ms),
            output_bytes=lowest("output_kb", self.output_bytes, unit=KILOBYTE),
            log_lines=lowest("log_lines", self.log_lines),
            log_bytes=lowest("log_kb", self.log_bytes, unit=KILOBYTE),
            service_calls=lowest("service_calls", self.service_calls),
            service_bytes=lowest("service_kb", self.service_bytes, unit=KILOBYTE),
            service_rate=lowest("service_rate", self.service_rate),
            in_flight=lowest("in_flight", self.in_flight),
            stack_bytes=lowest("stack_kb", self.max_stack_kb * KILOBYTE, self.default_stack_kb, KILOBYTE),
            startup_ms=min(lowest("startup_ms", self.max_startup_ms, self.default_startup_ms), timeout_ms),
        )


_MET: dict[str, tuple[str, int]] = {
    "out_of_memory": ("memory_mb", MEGABYTE),
    "timed_out": ("timeout_ms", 1),
    "cpu_exceeded": ("cpu_ms", 1),
    "startup_exceeded": ("startup_ms", 1),
    "stack_exceeded": ("stack_kb", KILOBYTE),
    "output_too_large": ("output_kb", KILOBYTE),
    "service_calls_exceeded": ("service_calls", 1),
    "service_bytes_exceeded": ("service_kb", KILOBYTE),
}
"""The limit that each code of an execution's error tells of, with the unit that the error counts in."""


def is_ceiling(ceilings: RequestedLimits, code: str, limit: int | None) -> bool:
    """Whether the limit that was met is one of these ceilings."""
    name, unit = _MET.get(code, ("", 1))
    ceiling = getattr(ceilings, name) if name else None
    return ceiling is not None and limit == unit * ceiling
