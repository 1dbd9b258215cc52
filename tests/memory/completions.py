"""Callers' own addresses, as a script has them answer."""

from collections.abc import Mapping, Sequence

from plugyard.domain.permissions import Permission
from plugyard.domain.queue import Delivery


class ScriptedWebhooks:
    """Remembers what it was sent. What begins with ``https://allowed.`` may be called, and answers ``answer``."""

    def __init__(self) -> None:
        self.sent: list[tuple[Delivery, Mapping[str, str], str]] = []
        self.answer: str | None = None

    def refusal(self, grants: Sequence[Permission], url: str) -> str | None:
        """Why it may not be called."""
        return None if url.startswith("https://allowed.") else "the host is not granted"

    async def send(
        self, delivery: Delivery, grants: Sequence[Permission], headers: Mapping[str, str], body: str
    ) -> str | None:
        """Remember it."""
        self.sent.append((delivery, headers, body))
        return self.answer
