"""What keeps a client of Kafka from its work, in words for the log and the health report."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import structlog
from confluent_kafka import KafkaError

# How long a try took and how many like it were kept back: another number each time, and no part of the reason.
_MEASURED = re.compile(r" \(after \d+ms in state \w+(?:, \d+ identical error\(s\) suppressed)?\)")
_REMEMBERED = 16
log = structlog.get_logger("plugyard")


def said(error: KafkaError) -> str:
    """What an operator needs of it: librdkafka's text names hosts and files, and no secret."""
    return _MEASURED.sub("", str(error.str()).removeprefix("Local: ").removeprefix("Broker: "))


class Trouble:
    """What is in the way `now`, empty where nothing is.

    Each reason is logged once until all is well again, for the brokers of a cluster that is away are met in turn.
    """

    def __init__(self, sentence: str, **words: Any) -> None:
        self.now = "it has not begun"
        self._sentence, self._words = sentence, words
        self._told: deque[str] = deque(maxlen=_REMEMBERED)

    def note(self, reason: str) -> None:
        """This is in the way."""
        if reason not in self._told:
            self._told.append(reason)
            log.warning(self._sentence, reason=reason, **self._words)
        self.now = reason

    def over(self) -> None:
        """Nothing is in the way any more."""
        self._told.clear()
        self.now = ""
