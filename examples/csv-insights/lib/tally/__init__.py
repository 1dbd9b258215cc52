"""Tally: one-pass statistics of a stream of values, in bounded memory and without dependencies.

numbers = Numbers()
for value in stream:
    numbers.add(value)
numbers.mean, numbers.stddev, numbers.quantile(0.5)
"""

from .numbers import Fences, Moments, Numbers
from .reservoir import Reservoir
from .top import Top

__all__ = ["Fences", "Moments", "Numbers", "Reservoir", "Top"]
__version__ = "1.0.0"
