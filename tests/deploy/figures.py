"""Every metric that a service shows, as Prometheus reads it: by name, with the values that its labels may have."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from plugyard.bootstrap.figures import show_figures, show_requests
from plugyard.bootstrap.identity import token_verifier
from plugyard.bootstrap.objects import ObjectStore
from plugyard.bootstrap.sharing import _show
from plugyard.domain.execution import ExecutionStatus
from plugyard.http.atonce import AtOnce
from plugyard.infrastructure.postgres.outbox import Lag
from plugyard.infrastructure.relay.consumer import Consumer
from plugyard.infrastructure.relay.relay import Relay
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.settings import Settings

PARTS = ("database", "sandbox", "gate", "jail", "objects", "cache", "relay", "inbox")
STATES = ("running", "idle", "spare", "starting", "queued")
Labels = dict[str, set[str]]


@cache
def shown() -> dict[str, Labels]:
    """What every part of the service has put on the page that Prometheus reads."""
    telemetry = Telemetry(lambda: dict.fromkeys(STATES, 1))
    once: Any = SimpleNamespace(starts=1)
    show_figures(telemetry, Settings(data=Path("/")), once, once)
    show_requests(telemetry, AtOnce())
    token_verifier(Settings(oidc_issuer="https://login.example.com", oidc_audience="plugyard"), telemetry)
    _show(SimpleNamespace(up=1, away_s=0, counts=SimpleNamespace(lost=0, skipped=0, failed=0)), telemetry)
    cached: Any = SimpleNamespace(hits=0, misses=0)
    ObjectStore(cached, None, cached).show(telemetry)
    relay = Relay.__new__(Relay)
    relay.lag, relay.published, relay._led = Lag(0, 0.0), 0, {}
    for name, (meaning, read) in relay.figures().items():
        telemetry.gauge(name, meaning, read)
    inbox = Consumer.__new__(Consumer)
    inbox.taken = inbox.dropped = inbox.buried = 0
    inbox._lanes = {}
    for name, (meaning, read) in inbox.counts().items():
        telemetry.counter(name, meaning, read)
    for name, (meaning, read) in inbox.figures().items():
        telemetry.gauge(name, meaning, read)
    telemetry.parts(dict.fromkeys(PARTS, True))
    for method, status in (("GET", 200), ("POST", 401), ("POST", 429), ("POST", 500), ("POST", 501), ("POST", 503)):
        telemetry.request(method, "/api/v1/plugins", status, 0.1)
    for tail in ("http/{path}", "logs", "export"):
        telemetry.request("GET", f"/api/v1/plugins/{{pluginId}}/{tail}", 200, 0.1, by_plugin=tail.startswith("http"))
    telemetry.upload("created", 0.1)
    for status in ExecutionStatus:
        for start in ("warm", "spare", "cold"):
            execution: Any = SimpleNamespace(
                status=status, usage=SimpleNamespace(start=start, wall_ms=1, cpu_ms=1, peak_memory_bytes=1)
            )
            telemetry.execution(execution)
    found: dict[str, Labels] = {}
    for family in text_string_to_metric_families(telemetry.exposition()[0].decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found
