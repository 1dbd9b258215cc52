"""The log of one execution: lines that a plugin wrote, capped in number and size. Filled by the broker."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from plugyard.domain.execution import LogLine
from plugyard.sandbox import wire

LEVELS = ("debug", "info", "warning", "error")

_fields = msgspec.json.Decoder(dict[str, Any])


class LogBook:
    """Keeps lines while they fit, then says once that more were cut."""

    __slots__ = ("_bytes_left", "_bytes_limit", "_lines", "_lines_left", "_lines_limit", "flooded", "full")

    def __init__(self, lines: int, size: int, earlier: tuple[LogLine, ...] = ()) -> None:
        self._lines: list[LogLine] = list(earlier)
        self._lines_limit = self._lines_left = lines
        self._bytes_limit = self._bytes_left = size
        self.full = False
        self.flooded = False

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """What was kept."""
        return tuple(self._lines)

    def add(self, level: str, message: str, fields: bytes) -> None:
        """Keep one line. `fields` is JSON from inside the jail and is not trusted to be an object, or JSON at all."""
        if self.full:
            # An honest environment sends one line beyond the cap; one that goes on is no longer honest.
            self.flooded = True
            return
        self._lines_left -= 1
        self._bytes_left -= len(message) + len(fields)
        if self._lines_left < 0 or self._bytes_left < 0:
            self.full = True
            limit = f"{self._lines_limit} lines" if self._lines_left < 0 else f"{self._bytes_limit} bytes"
            notice = f"further log lines of this execution were cut: it reached its limit of {limit}"
            self._lines.append(LogLine(datetime.now(UTC), "warning", notice, {"truncated": True}))
            return
        # A NUL character is the one that PostgreSQL's text cannot hold.
        text = message[: wire.MAX_MESSAGE_BYTES].replace("\0", "\ufffd")
        self._lines.append(LogLine(datetime.now(UTC), level if level in LEVELS else "info", text, _read(fields)))


def _read(fields: bytes) -> dict[str, Any]:
    if fields == b"{}":
        return {}
    if len(fields) > wire.MAX_MESSAGE_BYTES or not wire.json_depth_within(fields, 16) or b"\\u0000" in fields:
        return {"truncated": True}
    try:
        return _fields.decode(fields)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {"truncated": True}
