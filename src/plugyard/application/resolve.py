"""Resolves what a version depends on, from the tenant's plugins and the marketplace; upload and install call it."""

from plugyard.application.platform import Platform
from plugyard.application.ports import ResolvedDependency, Transaction
from plugyard.domain.dependencies import Candidate, Unresolvable, resolve
from plugyard.domain.errors import DependencyConflict
from plugyard.domain.manifest import Manifest
from plugyard.domain.plugin import PluginState, PluginVersion, PluginView


def _candidate(manifest: Manifest, *, current: bool = False) -> Candidate:
    return Candidate(manifest.name, manifest.version, manifest.plugins, manifest.platform, current)


async def resolve_dependencies(
    platform: Platform, tx: Transaction, manifest: Manifest, *, installed_only: bool
) -> tuple[ResolvedDependency, ...]:
    """The versions that meet the manifest's dependencies; raises ``Unresolvable``.

    At upload the marketplace may still supply what is missing; at install it has to be there.
    """
    universe: list[Candidate] = []
    plugins: dict[str, PluginView] = {}
    if manifest.plugins:
        for view in await tx.installed_plugins():
            plugins[view.plugin.name] = view
            universe.append(_candidate(view.version.manifest, current=True))
        if not installed_only:
            universe += await _from_marketplace(tx, manifest, set(plugins))
    found = resolve(_candidate(manifest), universe, platform.policies.platform_version)
    return tuple(
        ResolvedDependency(
            name,
            str(manifest.plugins.get(name, "*")),
            str(version),
            plugins[name].plugin.id if name in plugins else None,
        )
        for name, version in sorted(found.items())
    )


async def _from_marketplace(tx: Transaction, manifest: Manifest, installed: set[str]) -> list[Candidate]:
    found: list[Candidate] = []
    waiting, seen = list(manifest.plugins), set(installed)
    while waiting and len(seen) < 200:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        listing = await tx.listing_named(name)
        if listing is not None:
            found.append(_candidate(listing.manifest))
            waiting += listing.manifest.plugins
    return found


async def require_dependencies(platform: Platform, tx: Transaction, view: PluginView) -> None:
    """Resolve against what is installed and keep the answer; raises ``DependencyConflict`` with the reasons."""
    try:
        resolved = await resolve_dependencies(platform, tx, view.version.manifest, installed_only=True)
    except Unresolvable as error:
        raise DependencyConflict(
            "The plugin depends on others that are not installed in a version that fits.", error.explanation
        ) from error
    await tx.save_dependencies(view.version.id, resolved)


async def refuse_if_needed(tx: Transaction, view: PluginView, action: str) -> None:
    """Raise ``DependencyConflict`` when an active plugin of the tenant depends on this one."""
    needing = [
        other.plugin.name
        for other in await tx.installed_plugins()
        if other.plugin.state is PluginState.ACTIVE
        and other.plugin.id != view.plugin.id
        and view.plugin.name in other.version.manifest.plugins
    ]
    if needing:
        names = ", ".join(sorted(needing))
        raise DependencyConflict(
            f"To {action} this plugin would break others that are active: {names}. Deactivate them first.",
            [f"{name} depends on {view.plugin.name}" for name in sorted(needing)],
        )


async def refuse_if_outgrown(tx: Transaction, view: PluginView, version: PluginVersion) -> None:
    """Raise ``DependencyConflict`` when an active plugin needs this one in a range without ``version``."""
    name, number = view.plugin.name, version.manifest.version
    outgrown = [
        f"{other.plugin.name} needs {name} {wanted}, and this is {number}"
        for other in await tx.installed_plugins()
        if other.plugin.state is PluginState.ACTIVE
        and other.plugin.id != view.plugin.id
        and (wanted := other.version.manifest.plugins.get(name)) is not None
        and not wanted.admits(number)
    ]
    if outgrown:
        raise DependencyConflict(
            f"Version {number} would break plugins that are active: {'; '.join(sorted(outgrown))}.", sorted(outgrown)
        )
