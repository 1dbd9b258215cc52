"""A plugin, its versions, and the states that it passes through.

Every transition is a method that returns the changed plugin and the event that it caused; whatever the table does not
allow raises ``WrongState`` with the actions that are allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from plugyard.domain.consent import WaitingUpgrade
from plugyard.domain.errors import WrongState
from plugyard.domain.events import EventType
from plugyard.domain.health import Health
from plugyard.domain.manifest import Manifest
from plugyard.domain.permissions import Permission
from plugyard.domain.report import Report
from plugyard.domain.rights import dated


class PluginState(StrEnum):
    """Where a plugin is on its path."""

    PENDING = "pending"
    VALIDATED = "validated"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    INSTALLED = "installed"
    ACTIVE = "active"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"
    UNINSTALLED = "uninstalled"


class Transition(StrEnum):
    """What moves a plugin from one state to another, in the words of the API."""

    VALIDATE = "validate"
    REJECT = "reject"
    QUARANTINE = "quarantine"
    INSTALL = "install"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    SUSPEND = "suspend"
    UNINSTALL = "uninstall"
    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    EXECUTE = "execute"
    CONFIGURE = "configure"


_S, _T = PluginState, Transition
_KEPT = {_T.UPGRADE: None, _T.ROLLBACK: None, _T.CONFIGURE: None}
# The whole state machine: what each state allows, and the state after it (None: the state stays).
TRANSITIONS: dict[PluginState, dict[Transition, PluginState | None]] = {
    _S.PENDING: {_T.VALIDATE: _S.VALIDATED, _T.REJECT: _S.REJECTED, _T.QUARANTINE: _S.QUARANTINED},
    _S.VALIDATED: {_T.INSTALL: _S.INSTALLED, _T.UNINSTALL: _S.UNINSTALLED, _T.UPGRADE: None},
    _S.REJECTED: {_T.VALIDATE: _S.VALIDATED, _T.UNINSTALL: _S.UNINSTALLED},
    _S.QUARANTINED: {_T.VALIDATE: _S.VALIDATED, _T.REJECT: _S.REJECTED, _T.UNINSTALL: _S.UNINSTALLED},
    _S.INSTALLED: {_T.ACTIVATE: _S.ACTIVE, _T.UNINSTALL: _S.UNINSTALLED, _T.INSTALL: _S.INSTALLED, **_KEPT},
    _S.ACTIVE: {
        _T.EXECUTE: None,
        _T.DEACTIVATE: _S.INACTIVE,
        _T.SUSPEND: _S.SUSPENDED,
        _T.UNINSTALL: _S.UNINSTALLED,
        _T.INSTALL: None,
        **_KEPT,
    },
    _S.INACTIVE: {_T.ACTIVATE: _S.ACTIVE, _T.UNINSTALL: _S.UNINSTALLED, _T.INSTALL: None, **_KEPT},
    _S.SUSPENDED: {
        _T.ACTIVATE: _S.ACTIVE,
        _T.DEACTIVATE: _S.INACTIVE,
        _T.UNINSTALL: _S.UNINSTALLED,
        _T.INSTALL: None,
        **_KEPT,
    },
    _S.UNINSTALLED: {},
}

EVENT_OF: dict[Transition, EventType] = {
    _T.VALIDATE: EventType.PLUGIN_VALIDATED,
    _T.REJECT: EventType.PLUGIN_REJECTED,
    _T.QUARANTINE: EventType.PLUGIN_QUARANTINED,
    _T.INSTALL: EventType.PLUGIN_INSTALLED,
    _T.ACTIVATE: EventType.PLUGIN_ACTIVATED,
    _T.DEACTIVATE: EventType.PLUGIN_DEACTIVATED,
    _T.SUSPEND: EventType.PLUGIN_ERROR_THRESHOLD_EXCEEDED,
    _T.UNINSTALL: EventType.PLUGIN_UNINSTALLED,
    _T.UPGRADE: EventType.PLUGIN_UPGRADED,
    _T.ROLLBACK: EventType.PLUGIN_ROLLED_BACK,
    _T.CONFIGURE: EventType.PLUGIN_CONFIGURED,
}


def allowed(state: PluginState) -> tuple[str, ...]:
    """The actions that a state allows, as the API names them."""
    internal = {_T.VALIDATE, _T.REJECT, _T.QUARANTINE, _T.SUSPEND}
    return tuple(transition.value for transition in TRANSITIONS[state] if transition not in internal)


def after(state: PluginState, transition: Transition) -> PluginState:
    """The state after a transition; raises ``WrongState`` where the table does not allow it."""
    if transition not in TRANSITIONS[state]:
        raise WrongState(transition.value, state.value, allowed(state))
    return TRANSITIONS[state][transition] or state


@dataclass(frozen=True, slots=True)
class PluginVersion:
    """One version of a plugin: immutable, named by the SHA-256 of its package."""

    id: str
    tenant_id: str
    plugin_id: str
    manifest: Manifest
    digest: str
    report: Report
    exports: tuple[str, ...]
    created_at: datetime

    @property
    def number(self) -> str:
        """The version as text."""
        return str(self.manifest.version)

    @property
    def functions(self) -> tuple[str, ...]:
        """What callers may name."""
        return self.manifest.callable_functions(self.exports)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin of one tenant, pointing at one version. ``granted_at`` says when each right was given, by its key."""

    id: str
    tenant_id: str
    name: str
    state: PluginState
    version_id: str
    created_at: datetime
    updated_at: datetime
    previous_version_id: str | None = None
    origin_listing_id: str | None = None
    configuration: dict[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    grants: tuple[Permission, ...] = ()
    installed_at: datetime | None = None
    activated_at: datetime | None = None
    suspended_because: str | None = None
    health: Health = field(default_factory=Health)
    waiting: WaitingUpgrade | None = None
    granted_at: dict[str, datetime] = field(default_factory=dict)

    def _moved(self, transition: Transition, at: datetime, **changes: Any) -> "Plugin":
        return replace(self, state=after(self.state, transition), updated_at=at, **changes)

    def check(self, transition: Transition) -> None:
        """Raise ``WrongState`` unless the present state allows the transition."""
        after(self.state, transition)

    def validated(self, at: datetime, version_id: str | None = None) -> tuple["Plugin", EventType]:
        """The gate let it pass, or an operator released it; ``version_id`` where another version is the good one."""
        moved = self._moved(Transition.VALIDATE, at, version_id=version_id or self.version_id)
        return moved, EVENT_OF[Transition.VALIDATE]

    def quarantined(self, at: datetime) -> tuple["Plugin", EventType]:
        """The gate found something suspicious in its only version; an operator decides."""
        return self._moved(Transition.QUARANTINE, at), EVENT_OF[Transition.QUARANTINE]

    def rejected(self, at: datetime) -> tuple["Plugin", EventType]:
        """The gate, or an operator, refused it."""
        return self._moved(Transition.REJECT, at), EVENT_OF[Transition.REJECT]

    def installed(self, grants: tuple[Permission, ...], at: datetime) -> tuple["Plugin", EventType]:
        """The tenant consented to these grants; again later, to change them."""
        times = self._dated(grants, at)
        moved = self._moved(
            Transition.INSTALL, at, grants=grants, granted_at=times, installed_at=self.installed_at or at
        )
        return moved, EVENT_OF[Transition.INSTALL]

    def activated(self, at: datetime) -> tuple["Plugin", EventType]:
        """It may execute from now on."""
        return self._moved(Transition.ACTIVATE, at, activated_at=at, suspended_because=None), EVENT_OF[
            Transition.ACTIVATE
        ]

    def deactivated(self, at: datetime) -> tuple["Plugin", EventType]:
        """It may not execute until it is activated again."""
        return self._moved(Transition.DEACTIVATE, at, suspended_because=None), EVENT_OF[Transition.DEACTIVATE]

    def suspended(self, because: str, at: datetime) -> tuple["Plugin", EventType]:
        """Its health stopped it; an admin may activate it again."""
        return self._moved(Transition.SUSPEND, at, suspended_because=because), EVENT_OF[Transition.SUSPEND]

    def uninstalled(self, at: datetime) -> tuple["Plugin", EventType]:
        """It is gone for its tenant; the rows and the package stay for the audit, its secrets do not."""
        return self._moved(Transition.UNINSTALL, at, grants=(), secrets={}, waiting=None), EVENT_OF[
            Transition.UNINSTALL
        ]

    def upgraded(self, version_id: str, grants: tuple[Permission, ...], at: datetime) -> tuple["Plugin", EventType]:
        """It points at another version and remembers the one before."""
        return self._pointed(Transition.UPGRADE, version_id, grants, at)

    def rolled_back(self, version_id: str, grants: tuple[Permission, ...], at: datetime) -> tuple["Plugin", EventType]:
        """It points at an earlier version again."""
        return self._pointed(Transition.ROLLBACK, version_id, grants, at)

    def _pointed(
        self, transition: Transition, version_id: str, grants: tuple[Permission, ...], at: datetime
    ) -> tuple["Plugin", EventType]:
        moved = self._moved(
            transition,
            at,
            version_id=version_id,
            previous_version_id=self.version_id,
            grants=grants,
            granted_at=self._dated(grants, at),
            waiting=None,
        )
        return moved, EVENT_OF[transition]

    def _dated(self, grants: tuple[Permission, ...], at: datetime) -> dict[str, datetime]:
        # What was granted before times were kept was granted when the plugin was installed.
        known = {**dated(self.grants, {}, self.installed_at or at), **self.granted_at}
        return dated(grants, known, at)

    def dropped(self, grants: tuple[Permission, ...], at: datetime) -> tuple["Plugin", EventType]:
        """An admin took rights away; ``grants`` is what is left."""
        self.check(Transition.INSTALL)
        left = replace(self, grants=grants, granted_at=self._dated(grants, at), updated_at=at)
        return left, EventType.PLUGIN_RIGHTS_DROPPED

    def awaiting(self, upgrade: WaitingUpgrade) -> tuple["Plugin", EventType]:
        """An upgrade waits for an admin's consent; one that waited before makes way."""
        return replace(self, waiting=upgrade, updated_at=upgrade.since), EventType.PLUGIN_UPGRADE_WAITING

    def declined(self, because: str, by: str, at: datetime) -> tuple["Plugin", EventType]:
        """An admin declined the upgrade that waits; the version in use goes on."""
        if self.waiting is None:
            raise ValueError("no upgrade waits")
        answered = replace(self.waiting, declined_because=because, decided_by=by, decided_at=at)
        return replace(self, waiting=answered, updated_at=at), EventType.PLUGIN_UPGRADE_DECLINED

    def configured(
        self, configuration: dict[str, Any], secrets: Mapping[str, Any], at: datetime
    ) -> tuple["Plugin", EventType]:
        """Its configuration changed."""
        moved = self._moved(Transition.CONFIGURE, at, configuration=configuration, secrets=secrets)
        return moved, EVENT_OF[Transition.CONFIGURE]

    def with_health(self, health: Health) -> "Plugin":
        """The same plugin with a newer judgement of its health."""
        return replace(self, health=health)


@dataclass(frozen=True, slots=True)
class PluginView:
    """A plugin with the version that it points at: what a reader wants to see together."""

    plugin: Plugin
    version: PluginVersion
