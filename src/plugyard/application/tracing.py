"""Spans: where the time of a request goes, through the pool into a plugin's service calls.

Whoever takes a request or a queued execution begins a trace with ``Platform.tracing`` and ``within``; everything below
asks ``span`` alone, which does nothing where no trace is recorded. ``infrastructure/tracing.py`` sends spans on.

What is said of a span is this service's own: ids, numbers, and names that a manifest or a grant gives. Never what a
caller or a plugin sends: no input, output, path, query, message or secret.
"""

import re
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Literal, Protocol

Kind = Literal["internal", "server", "client", "consumer"]
Value = str | int | float | bool
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


class Span(Protocol):
    """A piece of work with a beginning and an end. One that is not ``recording`` has an id and nothing else."""

    recording: bool
    traceparent: str  # W3C Trace Context, level 1
    trace_id: str  # 32 hexadecimal digits

    def child(self, name: str, kind: Kind) -> "Span": ...
    def rename(self, name: str) -> None: ...
    def set(self, name: str, value: Value) -> None: ...
    def fail(self, why: str) -> None: ...  # a word of this service's: the name of an error, never its message
    def end(self) -> None: ...


class Tracing(Protocol):
    """Begins traces. ``begin`` decides whether this one is recorded.

    ``parent`` is a traceparent that ``well_formed`` let through; ``ours`` says that this service wrote it, so that what
    it says of recording is believed.
    """

    def begin(self, name: str, kind: Kind, parent: str | None, *, ours: bool = False) -> Span: ...


current: ContextVar[Span | None] = ContextVar("span", default=None)
"""The span that what runs now belongs to."""


class Working(Protocol):
    """What a block of work can say of its span."""

    @property
    def recording(self) -> bool: ...
    def set(self, name: str, value: Value) -> None: ...
    def fail(self, why: str) -> None: ...


class _Untraced:
    """In place of a span where none is recorded: one for all."""

    recording = False

    def __enter__(self) -> Working:
        return self

    def __exit__(self, *of_error: object) -> None:
        """Nothing was begun."""

    def set(self, name: str, value: Value) -> None:
        """Nobody would see it."""

    def fail(self, why: str) -> None:
        """Nobody would see it."""


_UNTRACED = _Untraced()


class _Within:
    """A span that is the current one for a block, and ends with it."""

    __slots__ = ("_span", "_token")
    _token: Token[Span | None]

    def __init__(self, one: Span) -> None:
        self._span = one

    def __enter__(self) -> Span:
        self._token = current.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current.reset(self._token)
        if kind is not None:
            self._span.fail(kind.__name__)
        self._span.end()


def within(one: Span) -> AbstractContextManager[Span]:
    """Make a span the current one for a block; it ends with the block, failed where an error leaves it."""
    return _Within(one)


def span(name: str, kind: Kind = "internal") -> AbstractContextManager[Working]:
    """A span below the current one, for a block; nothing where the current one is not recorded, or there is none."""
    above = current.get()
    if above is None or not above.recording:
        return _UNTRACED
    return _Within(above.child(name, kind))


def note(name: str, value: Value) -> None:
    """Say something of the current span, where there is one."""
    now = current.get()
    if now is not None:
        now.set(name, value)


def traceparent(given: str | None) -> str | None:
    """What whoever is called next should name as its parent: the current span, else what the caller gave."""
    now = current.get()
    return given if now is None else now.traceparent


def well_formed(given: str) -> bool:
    """Whether it is a ``traceparent`` of version 00 with ids that are not zero (W3C Trace Context, 3.2.2)."""
    return _TRACEPARENT.fullmatch(given) is not None
