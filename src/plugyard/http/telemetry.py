"""What the HTTP side tells its operators; ``infrastructure/telemetry.py`` counts it for Prometheus."""

from collections.abc import Mapping
from typing import Protocol


class Telemetry(Protocol):
    """Counts requests and uploads, and shows what was counted."""

    def request(self, method: str, route: str, status: int, seconds: float, *, by_plugin: bool = False) -> None: ...
    def upload(self, outcome: str, seconds: float) -> None: ...  # created, repeated, or the code of the problem
    def parts(self, states: Mapping[str, bool]) -> None: ...  # which parts are well, as the health report names them
    def exposition(self) -> tuple[bytes, str]: ...  # the text that Prometheus scrapes, and its media type
