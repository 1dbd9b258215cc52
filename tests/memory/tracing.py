"""Traces in memory, for tests that look at what is begun and said."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from plugyard.application.tracing import Kind, Span, Value


@dataclass
class MemorySpan:
    """A span that keeps what was said of it."""

    name: str
    kind: Kind
    parent: str | None  # the traceparent of the one above
    trace_id: str
    all: list["MemorySpan"]
    ids: Iterator[int]
    recording: bool = True
    attributes: dict[str, Value] = field(default_factory=dict)
    failed: str | None = None
    ended: bool = False

    def __post_init__(self) -> None:
        self.traceparent = f"00-{self.trace_id}-{next(self.ids):016x}-01"
        self.all.append(self)

    def child(self, name: str, kind: Kind) -> Span:
        return MemorySpan(name, kind, self.traceparent, self.trace_id, self.all, self.ids)

    def rename(self, name: str) -> None:
        self.name = name

    def set(self, name: str, value: Value) -> None:
        self.attributes[name] = value

    def fail(self, why: str) -> None:
        self.failed = why

    def end(self) -> None:
        assert not self.ended
        self.ended = True


@dataclass
class MemoryTracing:
    """`application.tracing.Tracing`; everything is recorded."""

    spans: list[MemorySpan] = field(default_factory=list)
    believed: list[bool] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def begin(self, name: str, kind: Kind, parent: str | None, *, ours: bool = False) -> Span:
        self.believed.append(ours)
        trace_id = parent[3:35] if parent is not None else f"{next(self._ids):032x}"
        return MemorySpan(name, kind, parent, trace_id, self.spans, self._ids)
