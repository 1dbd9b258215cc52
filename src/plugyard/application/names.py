"""Names that imitate: a plugin's against those in the marketplace, an author's against verified publishers'.

``verify.py`` looks at each upload, and ``marketplace.py`` once more when a version is published: the name that it is
like may have come meanwhile.
"""

from dataclasses import replace

from plugyard.application.ports import Transaction
from plugyard.domain.errors import NameTaken
from plugyard.domain.imitation import SHORTEST_TELLING, Likeness, likeness, skeleton
from plugyard.domain.manifest import Manifest
from plugyard.domain.plugin import Plugin, PluginState
from plugyard.domain.report import Consequence, Finding, Severity
from plugyard.domain.rules import Rule

_IMITATES_PLUGIN = Rule(
    "names.imitates-plugin",
    Severity.WARNING,
    Consequence.QUARANTINE,
    "the name reads like that of another publisher's plugin in the marketplace",
    "Whoever installs in a hurry would take one for the other; that is how such packages get installed.",
    "Choose a name that nobody mistakes. An operator releases it where both have good reason for their names.",
)
_SIMILAR_TO_PLUGIN = Rule(
    "names.similar-to-plugin",
    Severity.INFO,
    Consequence.SHOW,
    "the name is much like that of another publisher's plugin in the marketplace",
    "Users may look for one and find the other.",
    "Choose a name that tells the two apart, if it matters to you.",
)
_IMITATES_PUBLISHER = Rule(
    "names.imitates-publisher",
    Severity.WARNING,
    Consequence.QUARANTINE,
    "the author reads like the name of another tenant's verified publisher",
    "Whoever trusts that publisher would trust this package.",
    "Name yourself in metadata.author. An operator releases it where the name is yours as well.",
)
RULES = (_IMITATES_PLUGIN, _SIMILAR_TO_PLUGIN, _IMITATES_PUBLISHER)
_NAME, _AUTHOR = "plugin.json#/metadata/name", "plugin.json#/metadata/author"


async def imitations(tx: Transaction, manifest: Manifest) -> list[Finding]:
    """What of the names in a manifest is made to be taken for another's.

    A plugin whose name was let in before, by the gate or by an operator, is only told that there is another like it.
    """
    found = await _like_plugins(tx, manifest.name)
    own = await tx.plugin_named(manifest.name)
    waits = (PluginState.QUARANTINED, PluginState.REJECTED)
    if found and own is not None and own.plugin.state not in waits:
        found = [replace(one, consequence=Consequence.SHOW) for one in found]
    for publisher in await tx.publishers_read_as(manifest.author) if manifest.author else ():
        said = f"The author {manifest.author!r} reads like the verified publisher {publisher.name!r}."
        found.append(_IMITATES_PUBLISHER.found(_AUTHOR, said))
    return found


async def require_own_name(tx: Transaction, plugin: Plugin, *, released: bool) -> None:
    """Raise ``NameTaken`` where a plugin that is about to be published reads like another publisher's listing.

    What an operator released under its name, and a verified publisher, may be published all the same.
    """
    like = [one for one in await _like_plugins(tx, plugin.name) if one.consequence is Consequence.QUARANTINE]
    if not like or released:
        return
    publisher = await tx.publisher(plugin.tenant_id)
    if publisher is None or publisher.verified_at is None:
        raise NameTaken(f"{like[0].what} Choose another, or ask the operator to verify you as a publisher.")


async def _like_plugins(tx: Transaction, name: str) -> list[Finding]:
    found = []
    for other, publisher in (await tx.names_near(name)).items():
        alike = likeness(name, other) if name != other else None
        if alike is None:
            continue
        telling = alike is Likeness.SAME or len(skeleton(name)) >= SHORTEST_TELLING
        rule = _IMITATES_PLUGIN if telling else _SIMILAR_TO_PLUGIN
        whose = f" of {publisher}" if publisher is not None else ""
        how = "reads the same as" if alike is Likeness.SAME else "is one letter away from"
        found.append(rule.found(_NAME, f"The name {name!r} {how} {other!r}{whose}, which is in the marketplace."))
    return found
