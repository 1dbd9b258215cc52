"""Time and ids that a test decides."""

import uuid
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class SettableClock:
    """Stands still until a test moves it."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        """Move on by a span in the words of ``timedelta``."""
        self.now += timedelta(**span)


class CountingIds:
    """UUIDs of version 7 (RFC 9562, section 5.7) that grow by one from a fixed time, the same in every run."""

    def __init__(self, first_ms: int = int(START.timestamp() * 1000)) -> None:
        self._first_ms, self._given = first_ms, 0

    def __call__(self) -> str:
        self._given += 1
        return str(uuid.UUID(int=(self._first_ms << 80) | (7 << 76) | (2 << 62) | self._given))
