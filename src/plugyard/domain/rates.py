"""What is allowed within a short time, and how much of it is left."""

from dataclasses import dataclass
from typing import NamedTuple

WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """So many requests within so many seconds, over a window that slides. ``name`` is shown in the header fields."""

    name: str
    limit: int
    window_s: int = WINDOW_S


class Rate(NamedTuple):
    """Whether a request is within its policy, how many more are, and the seconds until there are more again.

    Two are made for every request, and a tuple takes a third of the time that a frozen dataclass does.
    """

    allowed: bool
    remaining: int
    resets_in_s: float
