"""What was read from the store and may be used for a moment, and one read at a time of each thing.

Whoever asks for what is being read waits for that read. Without this, a store that takes longer than copies live would
be asked by every request at once, and become slower by it.
"""

from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from functools import partial
from typing import Any

from plugyard.application.together import Together

MOST = 20_000
Name = tuple[Hashable, ...]


class Copies:
    """Copies by name. What was forgotten is read anew, also where it was being read at that moment."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held: dict[Name, tuple[datetime, Any]] = {}  # until when, and what
        self._reads: Together[Name, Any] = Together()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, name: Name) -> bool:
        return name in self._held

    def last(self, name: Name) -> Any:
        """The copy, however old; ``None`` where there is none."""
        held = self._held.get(name)
        return None if held is None else held[1]

    def put(self, name: Name, value: Any, until: datetime) -> None:
        """Keep a copy."""
        if len(self._held) >= self._most and name not in self._held:
            self._make_room()
        self._held[name] = (until, value)

    async def get(self, name: Name, now: datetime, until: datetime, read: Callable[[], Awaitable[Any]]) -> Any:
        """The copy, or what ``read`` brings: kept ``until`` then, unless it is ``None``. Its errors go to all."""
        held = self._held.get(name)
        if held is not None and now < held[0]:
            return held[1]
        return await self._reads.share(name, partial(self._read, name, until, read))

    async def _read(self, name: Name, until: datetime, read: Callable[[], Awaitable[Any]]) -> Any:
        value = await read()
        if self._reads.stands(name):
            if value is not None:
                self.put(name, value, until)
            else:
                self._held.pop(name, None)
        return value

    def forget(self, of: Callable[[Name], bool] = lambda name: True) -> None:
        """Drop the copies of those names, by default all; and keep nothing of what is being read now."""
        for name in [name for name in self._held if of(name)]:
            del self._held[name]
        self._reads.forget(of)

    def _make_room(self) -> None:
        """Drop the half that was first read the longest ago."""
        for name in list(self._held)[: self._most // 2]:
            del self._held[name]
