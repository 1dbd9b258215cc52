"""Counters for Prometheus.

``bootstrap`` makes one ``Telemetry`` and gives it to the HTTP side and, for executions, to the use cases.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from plugyard.domain.execution import Execution

Reading = Callable[[], float | Mapping[str, float]]
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Telemetry:
    """Counts, and shows what was counted. ``pool`` reads how many environments there are, by state or in all."""

    def __init__(self, pool: Reading | None = None) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "plugyard_http_request_duration_seconds",
            "HTTP requests by route, and how long they took; whether a plugin made the answer, or the service.",
            ["method", "route", "status", "answered_by"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._executions = Counter(
            "plugyard_executions", "Executions that ended, by status.", ["status"], registry=self.registry
        )
        self._execution_seconds = Histogram(
            "plugyard_execution_duration_seconds",
            "How long executions took in the sandbox, by the kind of start.",
            ["start"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._cpu = Counter("plugyard_execution_cpu_seconds", "CPU time of executions.", registry=self.registry)
        self._uploads = Histogram(
            "plugyard_upload_duration_seconds",
            "Uploads by outcome, and how long they took.",
            ["outcome"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._known: dict[tuple[Any, ...], Any] = {}
        self._parts: dict[str, float] = {}
        self.gauge("plugyard_part_up", "1 for each part that is well, 0 for others.", lambda: self._parts, label="part")
        if pool is not None:
            self.gauge("plugyard_environments", "Environments of the sandbox.", pool, label="state")

    def request(self, method: str, route: str, status: int, seconds: float, *, by_plugin: bool = False) -> None:
        """Count a request; ``route`` is the template, so that ids make no new series."""
        key = ("request", method, route, status, by_plugin)
        observer = self._known.get(key)
        if observer is None:
            shown = method if method in _METHODS else "other"
            observer = self._known[key] = self._requests.labels(
                shown, route, str(status), "plugin" if by_plugin else "service"
            )
        observer.observe(seconds)

    def execution(self, execution: Execution) -> None:
        """Count an execution that ended."""
        self._child(self._executions, execution.status.value).inc()
        if execution.usage is not None:
            self._child(self._execution_seconds, execution.usage.start).observe(execution.usage.wall_ms / 1000)
            self._cpu.inc(max(0.0, execution.usage.cpu_ms / 1000))

    def _child(self, metric: Any, label: str) -> Any:
        # `labels` looks the series up under a lock, which a request should not have to do for what hardly changes.
        key = (metric, label)
        child = self._known.get(key)
        if child is None:
            child = self._known[key] = metric.labels(label)
        return child

    def upload(self, outcome: str, seconds: float) -> None:
        """Count an upload: created, repeated, or the code of the problem."""
        self._uploads.labels(outcome).observe(seconds)

    def parts(self, states: Mapping[str, bool]) -> None:
        """Show which parts are well."""
        self._parts = {name: float(well) for name, well in states.items()}

    def gauge(self, name: str, description: str, read: Reading, *, label: str = "kind") -> None:
        """Show what ``read`` says at each scrape: one number, or one for each value of the label."""
        self.registry.register(_Read(_named(name), description, read, label))

    def counter(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Show a count that only grows and is kept elsewhere, as ``read`` says at each scrape."""
        self.registry.register(_ReadCount(_named(name), description, read))

    def exposition(self) -> tuple[bytes, str]:
        """The text that Prometheus scrapes, and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


def _named(name: str) -> str:
    if "_" in name and not name.startswith("plugyard_"):
        raise ValueError(f"metrics of the service begin with plugyard_, not as {name}")
    return name


class _ReadCount(Collector):
    def __init__(self, name: str, description: str, read: Callable[[], float]) -> None:
        self._name, self._description, self._read = name, description, read

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._description, value=float(self._read()))


class _Read(Collector):
    def __init__(self, name: str, description: str, read: Reading, label: str) -> None:
        self._name, self._description, self._read, self._label = name, description, read, label

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        value = self._read()
        if isinstance(value, Mapping):
            family = GaugeMetricFamily(self._name, self._description, labels=[self._label])
            for kind, number in value.items():
                family.add_metric([kind], float(number))
        else:
            family = GaugeMetricFamily(self._name, self._description, value=float(value))
        yield family
