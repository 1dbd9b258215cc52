"""What the HTTP side tells its operators; ``infrastructure/telemetry.py`` counts it for Prometheus."""

from typing import Protocol


class Telemetry(Protocol):
    """Counts requests and uploads, and shows what was counted."""

    def request(self, method: str, route: str, status: int, seconds: float) -> None: ...
    def upload(self, outcome: str, seconds: float) -> None: ...  # created, repeated, or the code of the problem
    def exposition(self) -> tuple[bytes, str]: ...  # the text that Prometheus scrapes, and its media type
