"""Time and names."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time now, in UTC."""

    def __call__(self) -> datetime: ...


class Ids(Protocol):
    """A new id: a UUID version 7 as text."""

    def __call__(self) -> str: ...
