"""The one tree of errors that the rules and the use cases raise.

``PlugyardError``
 ├── ``InvalidInput``            the request's own values are wrong; every bad field is named
 ├── ``NotFound``                there is no such thing, or it is another tenant's: the answer is the same
 │    └── ``FunctionNotFound``   names the functions that do exist
 ├── ``Conflict``                the thing is there and its state stands against the request
 │    ├── ``WrongState``         names the state and what would be allowed
 │    ├── ``VersionQuarantined`` an operator has to release it first
 │    └── ``VersionExists``      another content under a version that exists
 ├── ``Unauthenticated``         no key, or one that is not known, has expired or was revoked
 ├── ``Forbidden``               the key's role does not allow it
 │    ├── ``NotGrantable``       the operator lets no plugin of the tenant have it
 │    └── ``TenantSuspended``    the operator has suspended the tenant; says why
 ├── ``QuotaExceeded``           the tenant has as much as it may; says of what, and when that frees
 ├── ``PackageRefused``          the gate found something; carries the report
 ├── ``TooLarge``                more bytes than the limit
 ├── ``NotOffered``              a later version brings it
 └── ``Unavailable``             a part that is needed is away; trying again later may help
      ├── ``StoreUnavailable``
      │    └── ``Unrecorded``    it was executed; whether its record was written, nobody knows
      ├── ``SandboxUnavailable``
      ├── ``GateUnavailable``
      ├── ``IdentityUnavailable``
      └── ``Overloaded``         the tenant's queue is full

Errors know no HTTP: ``http/problems.py`` holds the one table that maps ``code`` to a status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from plugyard.domain.report import Report


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad value: where it is (RFC 6901 pointer, or ``query/name``, ``header/name``) and what is wrong with it."""

    pointer: str
    message: str


class PlugyardError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(self.message)


class InvalidInput(PlugyardError):
    """The request has values that do not fit."""

    code = "invalid_input"

    def __init__(self, message: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class NotFound(PlugyardError):
    """There is no such thing, or it is not yours to see."""

    code = "not_found"


class FunctionNotFound(NotFound):
    """The plugin has no function of that name."""

    code = "function_not_found"

    def __init__(self, function: str, available: Sequence[str]) -> None:
        listed = ", ".join(available) or "none"
        super().__init__(f"The plugin has no function {function[:100]!r}. It has: {listed}.")
        self.available = tuple(available)


class Conflict(PlugyardError):
    """The request does not fit the present state."""

    code = "conflict"


class WrongState(Conflict):
    """The plugin's state does not allow this."""

    code = "wrong_state"

    def __init__(self, action: str, state: str, allowed: Sequence[str]) -> None:
        listed = ", ".join(allowed) or "nothing"
        super().__init__(f"A plugin that is {state} cannot be asked to {action}. Allowed now: {listed}.")
        self.action, self.state, self.allowed = action, state, tuple(allowed)


class VersionExists(Conflict):
    """Another content was already uploaded under this version; versions never change."""

    code = "version_exists"


class VersionQuarantined(Conflict):
    """The version is in quarantine: an operator has to release it before it can be used."""

    code = "version_quarantined"


class NameTaken(Conflict):
    """The name is in use."""

    code = "name_taken"


class DependencyConflict(Conflict):
    """The dependencies cannot all be met."""

    code = "dependency_conflict"

    def __init__(self, message: str, explanation: Sequence[str]) -> None:
        super().__init__(message)
        self.explanation = tuple(explanation)


class IdempotencyConflict(Conflict):
    """This idempotency key is in use by a request that has not ended."""

    code = "idempotency_in_progress"


class IdempotencyMismatch(InvalidInput):
    """This idempotency key was used before with another request."""

    code = "idempotency_mismatch"


class Unauthenticated(PlugyardError):
    """Send a valid API key as: Authorization: Bearer <key>."""

    code = "unauthenticated"

    def __init__(
        self, message: str | None = None, *, actor: str | None = None, tenant_id: str | None = None, reason: str = ""
    ) -> None:
        """``actor`` and what follows tell the trail whose credentials these were; the answer never does."""
        super().__init__(message)
        self.actor, self.tenant_id, self.reason = actor, tenant_id, reason


class Forbidden(PlugyardError):
    """The key's role does not allow this."""

    code = "forbidden"


class NotGrantable(Forbidden):
    """The operator lets no plugin of this tenant have the service."""

    code = "not_grantable"

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__(
            f"The operator lets no plugin of this tenant have: {', '.join(services)}. Grant the others by naming them."
        )


class TenantSuspended(Forbidden):
    """The tenant is suspended."""

    code = "tenant_suspended"

    def __init__(self, reason: str | None) -> None:
        super().__init__(f"The tenant is suspended: {reason}" if reason else None)
        self.reason = reason


class QuotaExceeded(PlugyardError):
    """The tenant has as much as its quota allows."""

    code = "quota_exceeded"

    def __init__(self, message: str, *, quota: str, limit: int, used: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.quota, self.limit, self.used, self.retry_after_s = quota, limit, used, retry_after_s


class TenantRequired(InvalidInput):
    """An operator key belongs to no tenant: name one in the header Plugyard-Tenant."""

    code = "tenant_required"


class PackageRefused(PlugyardError):
    """The package was refused; the findings say why and how to mend it."""

    code = "package_refused"

    def __init__(self, report: "Report") -> None:
        super().__init__()
        self.report = report


class ChecksumMismatch(InvalidInput):
    """The bytes that arrived are not those that the checksum names."""

    code = "checksum_mismatch"


class TooLarge(PlugyardError):
    """More bytes than allowed."""

    code = "too_large"


class NotOffered(PlugyardError):
    """This is part of the design and not yet of this version."""

    code = "not_offered"


class Unavailable(PlugyardError):
    """A part that this needs is away; try again."""

    code = "unavailable"
    retry_after_s: float = 1.0


class StoreUnavailable(Unavailable):
    """The database or the object store is away; nothing was changed."""

    code = "store_unavailable"


class Unrecorded(StoreUnavailable):
    """The database is away: it was executed, and whether its record was written is not known."""


class SandboxUnavailable(Unavailable):
    """The sandbox is away; nothing was executed."""

    code = "sandbox_unavailable"


class IdentityUnavailable(Unavailable):
    """The identity provider does not give its keys, so that no token can be checked; API keys work."""

    code = "identity_unavailable"


class GateUnavailable(Unavailable):
    """The package could not be checked; it was not accepted."""

    code = "gate_unavailable"


class SecretsLocked(Unavailable):
    """The plugin's secrets cannot be opened."""

    code = "secrets_locked"
    retry_after_s = 60.0

    def __init__(self, plugin_id: str, key_id: str) -> None:
        super().__init__(
            f"The secrets of the plugin {plugin_id} are sealed with the key {key_id!r}, which is not here or does not "
            "open them. An operator adds the key to secret_keys again, or an admin sets all its secrets anew."
        )
        self.plugin_id, self.key_id = plugin_id, key_id


class Overloaded(Unavailable):
    """Too many of this tenant's executions are waiting."""

    code = "overloaded"

    def __init__(self, message: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
