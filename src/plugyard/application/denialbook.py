"""What is held of denials until it is written to the trail. ``Platform`` has one book; ``denials.py`` keeps it."""

from dataclasses import dataclass, field
from datetime import datetime

from plugyard.application.ports import AuditEntry


@dataclass(frozen=True, slots=True)
class Denial:
    """Who was denied what. ``tenant_id`` is ``None`` for an operator who acted in no tenant."""

    tenant_id: str | None
    actor: str
    operation: str
    code: str
    reason: str = ""
    request_id: str = ""


@dataclass(slots=True)
class Followed:
    """A denial whose entry was written, and how often it came again since."""

    since: datetime
    denial: Denial
    count: int = 0


@dataclass(slots=True)
class DenialBook:
    """The denials of the last minute, and the entries that wait to be written. ``lost`` counts what found no room."""

    held: dict[Denial, Followed] = field(default_factory=dict)
    waiting: list[AuditEntry] = field(default_factory=list)
    lost: int = 0
