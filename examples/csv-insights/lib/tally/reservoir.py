"""A fair sample of a stream whose length nobody knows beforehand."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Reservoir(Generic[T]):
    """Keeps everything up to ``size`` values; from then on each value seen has the same chance to be among them.

    The seed makes two runs over the same stream keep the same values.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"a reservoir holds at least one value, not {size}")
        self._size = size
        self._seen = 0
        self._values: list[T] = []
        self._random = random.Random(seed)  # noqa: S311 - a sample of a table is no secret

    def add(self, value: T) -> None:
        self._seen += 1
        if len(self._values) < self._size:
            self._values.append(value)
            return
        place = self._random.randrange(self._seen)
        if place < self._size:
            self._values[place] = value

    @property
    def complete(self) -> bool:
        return self._seen == len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
