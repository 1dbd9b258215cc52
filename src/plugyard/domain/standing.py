"""What an operator thinks of a version that was found suspicious, and what later checks found in versions in use."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from plugyard.domain.errors import Conflict, VersionQuarantined
from plugyard.domain.report import Finding


class StandingState(StrEnum):
    """Where a suspicious version stands. One that was never suspicious has no standing and may be used."""

    QUARANTINED = "quarantined"
    RELEASED = "released"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Standing:
    """A version's place in the quarantine; ``reason`` is the operator's. ``name``, ``version`` and ``digest`` say what
    it is."""

    version_id: str
    tenant_id: str
    plugin_id: str
    name: str
    version: str
    digest: str
    state: StandingState
    since: datetime
    decided_at: datetime | None = None
    decided_by: str | None = None
    reason: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether the version may not be used."""
        return self.state is not StandingState.RELEASED

    def decided(self, state: StandingState, by: str, reason: str, at: datetime) -> "Standing":
        """The operator's word. Raises ``Conflict`` where the same word was given already."""
        if self.state is state:
            raise Conflict(f"The version is {state.value} already.")
        return replace(self, state=state, decided_by=by, reason=reason, decided_at=at)


def refuse_if_blocked(standing: Standing | None) -> None:
    """Raise ``VersionQuarantined`` unless the version may be used; ``None`` is that of one never suspicious."""
    if standing is None or not standing.blocks:
        return
    if standing.state is StandingState.REFUSED:
        raise VersionQuarantined(f"Version {standing.version} was refused by an operator: {standing.reason}")
    raise VersionQuarantined(
        f"Version {standing.version} is in quarantine since {standing.since:%Y-%m-%d %H:%M} UTC: "
        "an operator has to release it before it can be used."
    )


@dataclass(frozen=True, slots=True)
class Rescan:
    """What the rules as they are now find in a stored version beyond its report, which never changes."""

    version_id: str
    tenant_id: str
    rules_version: str
    at: datetime
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """A version in use in which something was found later, and the plugins of any tenant that point at it."""

    rescan: Rescan
    name: str
    version: str
    digest: str
    installations: tuple[tuple[str, str, str], ...]  # tenant, plugin, state
