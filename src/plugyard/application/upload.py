"""Step one: a package comes in. Checked, stored under its digest, and written down, or refused and nothing left.

``http/plugins.py`` calls ``upload`` with the bytes already on disk; ``verify.py`` judges them.
"""

from dataclasses import dataclass
from pathlib import Path

from plugyard.application.activate import ConfigurationIncomplete, activate_in
from plugyard.application.install import consent_needed, forget_cached, install_in
from plugyard.application.platform import (
    Platform,
    may,
    plugin_of,
    record_change,
    require,
    require_scope,
    tenant_of,
)
from plugyard.application.ports import Transaction
from plugyard.application.quarantine import quarantine_in
from plugyard.application.quotas import add_plugin, add_version, require_room
from plugyard.application.signing import GivenSignature, accepted, sign_version
from plugyard.application.upgrade import ConsentRequired, point_at
from plugyard.application.verify import Verified, verify
from plugyard.application.waiting import wait_for_consent
from plugyard.domain.errors import (
    ChecksumMismatch,
    DependencyConflict,
    FieldError,
    Forbidden,
    NameTaken,
    NotGrantable,
    VersionExists,
    VersionQuarantined,
)
from plugyard.domain.events import EventType
from plugyard.domain.identity import Action, Caller
from plugyard.domain.permissions import Permission
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion, PluginView, Transition
from plugyard.domain.report import Report
from plugyard.domain.signatures import Signature
from plugyard.domain.standing import Standing, refuse_if_blocked


@dataclass(frozen=True, slots=True)
class ReceivedPackage:
    """A package on disk: ``digest`` is the SHA-256 of its bytes in hex, ``size`` their number."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What came of an upload. ``created`` is false where the same bytes were there already.

    ``consent_needed`` and ``not_activated`` say what still stands between the version and its first execution, and
    ``standing`` what an operator thinks of it where the gate found it suspicious.
    """

    view: PluginView
    version: PluginVersion
    report: Report
    created: bool
    consent_needed: tuple[Permission, ...] = ()
    not_activated: str | None = None
    standing: Standing | None = None


def package_key(digest: str) -> str:
    """Where a package lies in the object store."""
    return f"packages/sha256/{digest[:2]}/{digest}"


def bundle_key(digest: str) -> str:
    """Where the code of a package lies, as the sandbox loads it."""
    return f"bundles/sha256/{digest[:2]}/{digest}.json"


async def upload(
    platform: Platform,
    caller: Caller,
    package: ReceivedPackage,
    *,
    checksum: str | None,
    activate: bool,
    signature: GivenSignature | None = None,
) -> Uploaded:
    """Take a package in. Raises ``PackageRefused`` with every finding, ``VersionExists``, ``ChecksumMismatch``,
    ``QuotaExceeded``, ``SignatureInvalid``, ``SignatureRequired``."""
    require(caller, Action.UPLOAD)
    tenant_id = tenant_of(caller)
    if checksum is not None and checksum.lower() != f"sha256:{package.digest}":
        raise ChecksumMismatch(
            f"The bytes that arrived have the checksum sha256:{package.digest}. Send the package again.",
            [FieldError("/checksum", f"expected {checksum[:80]}, got sha256:{package.digest}")],
        )
    signed = await accepted(platform, caller, package.digest, signature)
    verified = await verify(platform, tenant_id, package.path, digest=package.digest, size=package.size)
    await _check_version(platform, tenant_id, verified)
    # Also where the version is on record: what was lost of it since is mended so, and what is whole is left as it is.
    await platform.objects.put_file(package_key(package.digest), package.path)
    await platform.objects.put(bundle_key(package.digest), verified.bundle)
    try:
        async with platform.store.for_tenant(tenant_id) as tx:
            uploaded = await _write_down(platform, tx, caller, verified, signed, activate=activate)
    except (NameTaken, VersionExists):
        # Another upload of the same name was quicker; what it wrote decides.
        async with platform.store.for_tenant(tenant_id) as tx:
            uploaded = await _write_down(platform, tx, caller, verified, signed, activate=activate)
    forget_cached(platform, uploaded.view.plugin.id)
    return uploaded


async def _check_version(platform: Platform, tenant_id: str, verified: Verified) -> None:
    """Raise ``VersionExists`` where the version is here with other bytes, and ``QuotaExceeded``."""
    async with platform.store.for_tenant(tenant_id) as tx:
        view = await tx.plugin_named(verified.manifest.name)
        version = await tx.version_numbered(view.plugin.id, str(verified.manifest.version)) if view else None
        if version is None:
            report = verified.report
            await require_room(
                platform, tx, tenant_id, digest=report.digest, size=report.packed_bytes, plugins=0 if view else 1
            )
    if version is not None and version.digest != verified.report.digest:
        raise VersionExists(
            f"Version {version.number} of {verified.manifest.name} exists with other content "
            f"(sha256:{version.digest}). Versions never change: raise metadata.version and upload again."
        )


async def _write_down(
    platform: Platform,
    tx: Transaction,
    caller: Caller,
    verified: Verified,
    signed: Signature | None,
    *,
    activate: bool,
) -> Uploaded:
    name, number = verified.manifest.name, str(verified.manifest.version)
    view = await tx.plugin_named(name, lock=True)
    existing = await tx.version_numbered(view.plugin.id, number) if view else None
    if existing is not None and existing.digest != verified.report.digest:
        raise VersionExists()
    if view is None:
        view = await _first_version(platform, tx, caller, verified)
        version = view.version
    elif existing is None:
        version = _new_version(platform, caller, view.plugin.id, verified)
        await add_version(platform, tx, version)
        view = await _next_version(platform, tx, caller, view, version)
    else:
        version = existing
    if signed is not None:
        await sign_version(platform, tx, caller, version, signed)
    standing = (await tx.standings([version.id])).get(version.id)
    if standing is not None and standing.blocks:
        return Uploaded(view, version, version.report, existing is None, (), _waits_for(standing), standing)
    try:
        view, needed = await _go_on(platform, tx, caller, view, version, activate=activate)
    except (DependencyConflict, ConfigurationIncomplete, ConsentRequired, NotGrantable, Forbidden) as error:
        # The upload itself is good and stays; what it waits for is part of the answer.
        asked = error.permissions if isinstance(error, ConsentRequired) else ()
        if isinstance(error, ConsentRequired):
            error = ConsentRequired(asked, await wait_for_consent(platform, tx, caller, view, version, asked))
        latest = await plugin_of(tx, view.plugin.id)
        return Uploaded(latest, version, verified.report, existing is None, asked, error.message, standing)
    return Uploaded(view, version, verified.report, existing is None, needed, None, standing)


def _waits_for(standing: Standing) -> str:
    try:
        refuse_if_blocked(standing)
    except VersionQuarantined as error:
        return error.message
    return ""


async def _next_version(
    platform: Platform, tx: Transaction, caller: Caller, view: PluginView, version: PluginVersion
) -> PluginView:
    """Another version of a plugin that is there: suspicious, it waits beside those that are good."""
    data = {"version": version.number, "digest": version.digest}
    await record_change(platform, tx, caller, EventType.PLUGIN_UPLOADED, view.plugin, data)
    if version.report.suspicious:
        await quarantine_in(platform, tx, caller, view.plugin, version)
        return view
    if view.plugin.state in (PluginState.QUARANTINED, PluginState.REJECTED):
        # Its earlier versions may not be used, and this one may.
        plugin, happened = view.plugin.validated(platform.clock(), version.id)
        await tx.save_plugin(plugin)
        await record_change(platform, tx, caller, happened, plugin, data)
        return PluginView(plugin, version)
    await record_change(platform, tx, caller, EventType.PLUGIN_VALIDATED, view.plugin, data)
    if view.plugin.state is PluginState.VALIDATED:
        # Nobody has consented to the first version yet, so the newest is the one to ask about.
        return await point_at(platform, tx, caller, view, version, Transition.UPGRADE, None)
    return view


async def _go_on(
    platform: Platform, tx: Transaction, caller: Caller, view: PluginView, version: PluginVersion, *, activate: bool
) -> tuple[PluginView, tuple[Permission, ...]]:
    """Install and activate as far as the tenant's policy and the caller's role allow; what consent is still needed."""
    consents = activate and may(caller, Action.INSTALL, view.plugin.id)
    needed = await consent_needed(tx, view)
    if view.plugin.state is PluginState.VALIDATED and (consents or not needed):
        view = await install_in(platform, tx, caller, view, view.version.manifest.permissions)
    elif needed:
        return view, needed
    if activate:
        # A key that is narrowed to uploads activates nothing by them.
        require_scope(caller, Action.ACTIVATE, view.plugin.id)
        if view.version.id != version.id:
            view = await point_at(platform, tx, caller, view, version, Transition.UPGRADE, None, consents=consents)
        if view.plugin.state is not PluginState.ACTIVE:
            view = await activate_in(platform, tx, caller, view)
    return view, ()


async def _first_version(platform: Platform, tx: Transaction, caller: Caller, verified: Verified) -> PluginView:
    now = platform.clock()
    version = _new_version(platform, caller, platform.ids(), verified)
    plugin = Plugin(
        version.plugin_id, tenant_of(caller), verified.manifest.name, PluginState.PENDING, version.id, now, now
    )
    moved, happened = plugin.quarantined(now) if version.report.suspicious else plugin.validated(now)
    await add_plugin(platform, tx, moved, version)
    data = {"version": version.number, "digest": version.digest}
    await record_change(platform, tx, caller, EventType.PLUGIN_UPLOADED, plugin, data)
    await record_change(platform, tx, caller, happened, moved, data)
    if version.report.suspicious:
        await quarantine_in(platform, tx, caller, moved, version)
    return PluginView(moved, version)


def _new_version(platform: Platform, caller: Caller, plugin_id: str, verified: Verified) -> PluginVersion:
    return PluginVersion(
        platform.ids(),
        tenant_of(caller),
        plugin_id,
        verified.manifest,
        verified.report.digest,
        verified.report,
        verified.exports,
        platform.clock(),
    )
