"""What requests look like: the bodies that operations take, with every bound that their fields have."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from plugyard.application.tenants import Changes
from plugyard.domain.identity import Action, Role
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.scopes import Scope
from plugyard.domain.signatures import SignatureDemand
from plugyard.domain.tenants import Quota
from plugyard.http.queries import PLAIN_TEXT

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=PLAIN_TEXT)]
VersionText = Annotated[str, Meta(min_length=1, max_length=100, pattern=PLAIN_TEXT, examples=["1.0.0"])]
# A review may have lines; what no database keeps is NUL.
Prose = Annotated[str, Meta(max_length=2_000, pattern=r"^[^\u0000]*$")]
Words = Annotated[list[Text], Meta(max_length=100)]


PluginId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        examples=["01a1f0c4-7a10-7000-8000-000000000021"],
    ),
]
ModuleName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^(node:)?[A-Za-z_@][A-Za-z0-9_./@-]*$")]


class Command(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """The base of all bodies."""


class Grant(Command, frozen=True):
    """A permission that an admin grants; empty lists leave the narrowing of the manifest as it is."""

    service: Service
    hosts: Words = []
    methods: Words = []
    paths: Words = []
    topics: Words = []
    reason: Annotated[str, Meta(max_length=500, pattern=PLAIN_TEXT)] = ""

    def permission(self) -> Permission:
        """The domain's value."""
        return Permission(
            self.service, tuple(self.hosts), tuple(self.methods), tuple(self.paths), tuple(self.topics), self.reason
        )


Grants = Annotated[list[Grant], Meta(max_length=20)]


def permissions(grants: list[Grant] | None) -> tuple[Permission, ...] | None:
    """The grants, or ``None`` where none were named."""
    return None if grants is None else tuple(one.permission() for one in grants)


class InstallPlugin(Command, frozen=True):
    """Which permissions to grant: null grants all that the manifest asks, an empty list none; and of which version."""

    grants: Grants | None = None
    version: VersionText | None = None


class ConsentToUpgrade(Command, frozen=True):
    """The version that was shown; grants answer what it asks beyond the present ones, null consents to all of that."""

    version: VersionText
    grants: Grants | None = None


class DeclineUpgrade(Command, frozen=True):
    """The version that was shown, and why it is not wanted."""

    version: VersionText
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=PLAIN_TEXT)]


class UpgradePlugin(Command, frozen=True):
    """Which version to use, by default the highest; grants consent to what it asks in addition."""

    version: VersionText | None = None
    grants: Grants | None = None


class NamedVersion(Command, frozen=True):
    """A version of the plugin, or null for the default."""

    version: VersionText | None = None


class NamedRight(Command, frozen=True):
    """A right as the list of rights names it: a service, or one host or topic of it."""

    service: Service
    name: Text | None = None


class DropRights(Command, frozen=True):
    """The rights to take away, and with `unused` also all that went unused."""

    rights: Annotated[list[NamedRight], Meta(max_length=100)] = []
    unused: bool = False


class InstallListing(Command, frozen=True):
    """Which permissions to grant (null: all that it asks), of which version, and whether to activate at once."""

    grants: Grants | None = None
    version: VersionText | None = None
    activate: bool = False


class RateListing(Command, frozen=True):
    """Stars and words."""

    stars: Annotated[int, Meta(ge=1, le=5)]
    review: Prose = ""


class CallLimits(Command, frozen=True):
    """Limits of this one call, named and measured as in a manifest; the lowest of all that is asked holds."""

    memory: Annotated[int, Meta(ge=32, le=1_024)] | None = None
    timeout: Annotated[int, Meta(ge=1, le=300_000)] | None = None
    cpu: Annotated[int, Meta(ge=1, le=300_000)] | None = None
    output: Annotated[int, Meta(ge=1, le=16_384)] | None = None
    log_lines: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    log_size: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    service_calls: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    service_rate: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    service_size: Annotated[int, Meta(ge=1, le=1_048_576)] | None = None
    in_flight: Annotated[int, Meta(ge=1, le=16)] | None = None
    stack: Annotated[int, Meta(ge=128, le=2_048)] | None = None
    startup: Annotated[int, Meta(ge=1, le=300_000)] | None = None

    def requested(self) -> RequestedLimits:
        """The domain's value."""
        return RequestedLimits.from_document(msgspec.to_builtins(self))


class ExecuteFunction(Command, frozen=True):
    """Which function to run, on what, and within which limits at most."""

    function: Text
    input: msgspec.Raw | UnsetType = UNSET
    mode: Literal["sync", "async"] = "sync"
    timeout_ms: Annotated[int, Meta(ge=1, le=300_000)] | None = None
    limits: CallLimits | None = None
    priority: Literal["low", "normal", "high"] = "normal"
    webhook: Annotated[str, Meta(min_length=1, max_length=2_000, pattern=PLAIN_TEXT)] | None = None


class KeyScope(Command, frozen=True):
    """What a key is narrowed to: actions (none: all of its role), one plugin by its id, functions of that plugin."""

    actions: Annotated[list[Action], Meta(max_length=30)] = []
    plugin: PluginId | None = None
    functions: Annotated[list[Text], Meta(max_length=100)] = []

    def scope(self) -> Scope:
        """The domain's value."""
        plugin = None if self.plugin is None else self.plugin.lower()
        return Scope(frozenset(one.value for one in self.actions), plugin, frozenset(self.functions))


class CreateKey(Command, frozen=True):
    """A name to know the key by, its role, what narrows it, and when it ends: a time, days, or the earlier of both."""

    name: Text
    role: Role
    scopes: Annotated[list[KeyScope], Meta(max_length=50)] = []
    expires_in_days: Annotated[int, Meta(ge=1, le=3_650)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class CreateOperatorKey(Command, frozen=True):
    """A name to know the key by, what narrows it, and when it ends: a time, days, or the earlier of both."""

    name: Text
    scopes: Annotated[list[KeyScope], Meta(max_length=50)] = []
    expires_in_days: Annotated[int, Meta(ge=1, le=3_650)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class RotateKey(Command, frozen=True):
    """For how many seconds the old secret goes on working; 0 ends it at once."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=2_592_000)] = 86_400


class CreateTenant(Command, frozen=True):
    """The tenant's short name, which addresses use, and its full one."""

    slug: Annotated[str, Meta(min_length=2, max_length=63, pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
    name: Text


class Ceilings(CallLimits, frozen=True):
    """Limits that no execution of the tenant goes beyond, in the words and units of manifests."""


QuotaSize = Annotated[int, Meta(ge=0, le=2**53 - 1)] | Literal["default"] | None | UnsetType


class QuotaSizes(Command, frozen=True):
    """Quotas of the tenant: a number, null for no quota, or `default` for the platform's. Storage is in bytes."""

    plugins: QuotaSize = UNSET
    storage_bytes: QuotaSize = UNSET
    executions_per_minute: QuotaSize = UNSET
    executions_per_day: QuotaSize = UNSET
    concurrent_executions: QuotaSize = UNSET

    def named(self) -> dict[Quota, int | str | None]:
        """Those that are to change."""
        return {Quota(name): value for name, value in msgspec.to_builtins(self).items()}


Services = Annotated[list[Service], Meta(max_length=20)]


class ChangeTenant(Command, frozen=True):
    """What to change of a tenant; what is left out stays as it is.

    `modulesDenied` are those that no plugin of it may import. `ceilings` replace the ones before. `grantable` are the
    services that a plugin of it may have at all, `autoGrantable` those that its policy may grant without consent.
    """

    modules_denied: Annotated[list[ModuleName], Meta(max_length=500)] | UnsetType = UNSET
    ceilings: Ceilings | UnsetType = UNSET
    grantable: Services | UnsetType = UNSET
    auto_grantable: Services | UnsetType = UNSET
    quotas: QuotaSizes | UnsetType = UNSET

    def changes(self) -> Changes:
        """The use case's value."""
        quotas = {} if self.quotas is UNSET else self.quotas.named()
        return Changes(
            None if self.modules_denied is UNSET else self.modules_denied,
            None if self.ceilings is UNSET else self.ceilings.requested(),
            None if self.grantable is UNSET else frozenset(self.grantable),
            None if self.auto_grantable is UNSET else frozenset(self.auto_grantable),
            {quota: size for quota, size in quotas.items() if not isinstance(size, str)},
            frozenset(quota for quota, size in quotas.items() if isinstance(size, str)),
        )


class SuspendTenant(Command, frozen=True):
    """Why, which the tenant is told; and whether what runs now is cancelled or may finish."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=PLAIN_TEXT)]
    running: Literal["cancel", "finish"] = "cancel"


class SetPolicy(Command, frozen=True):
    """The tenant's own rules; what is left out stays as it is.

    `autoGrant` are the services that every plugin gets without an admin's consent. `requireSignature` says what has to
    be signed, and `requireVerifiedPublisher` whether publishers in the marketplace have to be verified.
    """

    auto_grant: Services | UnsetType = UNSET
    require_signature: SignatureDemand | UnsetType = UNSET
    require_verified_publisher: bool | UnsetType = UNSET


Base64Key = Annotated[str, Meta(min_length=44, max_length=44, pattern=r"^[A-Za-z0-9+/]{43}=$")]
Base64Signature = Annotated[str, Meta(min_length=88, max_length=88, pattern=r"^[A-Za-z0-9+/]{86}==$")]


class RegisterPublisherKey(Command, frozen=True):
    """A name to know the key by, its 32 bytes in base64, and its signature of the proof text, in base64 as well."""

    name: Text
    public_key: Base64Key
    proof: Base64Signature


class RevokePublisherKey(Command, frozen=True):
    """Why, and from which moment on its signatures count no more (null: from now on)."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=PLAIN_TEXT)]
    invalid_from: Annotated[datetime, Meta(tz=True)] | None = None


class NamePublisher(Command, frozen=True):
    """The name that the tenant publishes by, and whether the operator vouches for it."""

    name: Text
    verified: bool


class Decide(Command, frozen=True):
    """Why; who uploaded the version reads it."""

    reason: Annotated[str, Meta(min_length=1, max_length=1_000, pattern=r"^[^\u0000]*[^\s\u0000][^\u0000]*$")]


# What configurations are made of: JSON without NUL in its text, which PostgreSQL's JSONB does not keep.
# Each keyword holds for its own type alone, so there is no `anyOf`: told of a fault below one, the validator makes an
# error for every branch at every level, each with a copy of all that lies below.
CONFIGURATION_VALUE: dict[str, Any] = {
    "title": "ConfigurationValue",
    "type": ["null", "boolean", "number", "string", "array", "object"],
    "maxLength": 65_536,
    "pattern": r"^[^\u0000]*$",
    "items": {"$ref": "#/$defs/ConfigurationValue"},
    "propertyNames": {"maxLength": 200, "pattern": r"^[^\u0000]*$"},
    "additionalProperties": {"$ref": "#/$defs/ConfigurationValue"},
}
CONFIGURATION_PATCH: dict[str, Any] = {
    "title": "ConfigurationPatch",
    "description": "A JSON merge patch (RFC 7396): objects merge, null removes, anything else replaces.",
    "type": "object",
    "propertyNames": {"maxLength": 200, "pattern": r"^[^\u0000]*$"},
    "additionalProperties": {"$ref": "#/$defs/ConfigurationValue"},
    "$defs": {"ConfigurationValue": CONFIGURATION_VALUE},
}
