"""What changes from one version of a plugin to another, so that an admin can judge an upgrade before it happens.

``application/compare.py`` finds the versions; each part stands in a module of its own.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from plugyard.domain.difference.permissions import PermissionChange, compare_permissions
from plugyard.domain.difference.schemas import Direction, SchemaChange, compare_schemas
from plugyard.domain.manifest import Effect, FunctionSpec, Manifest
from plugyard.domain.plugin import PluginVersion
from plugyard.domain.report import Finding, Report


class Change(StrEnum):
    """What became of a thing that has a name."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A place of the manifest (an RFC 6901 pointer), or an endpoint, with other content; ``None`` for nothing."""

    where: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class FunctionChange:
    """A function that callers may name: whether it came, went or changed, and whether its callers break."""

    name: str
    change: Change
    effect_before: Effect | None
    effect_after: Effect | None
    description_before: str | None
    description_after: str | None
    input: tuple[SchemaChange, ...] = ()
    output: tuple[SchemaChange, ...] = ()

    @property
    def breaking(self) -> bool:
        """Gone, or no longer only reading, or not taking or giving what it did."""
        worse = (self.effect_before, self.effect_after) == (Effect.READ, Effect.WRITE)
        gone = self.change is Change.REMOVED
        return gone or worse or any(one.breaking for one in (*self.input, *self.output))


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs. ``appeared`` and ``gone`` are ``None`` where one of the versions was judged elsewhere."""

    before: str
    after: str
    permissions: tuple[PermissionChange, ...]
    dependencies: tuple[ValueChange, ...]
    functions: tuple[FunctionChange, ...]
    endpoints: tuple[ValueChange, ...]
    configuration: tuple[SchemaChange, ...]
    settings: tuple[ValueChange, ...]
    appeared: tuple[Finding, ...] | None
    gone: tuple[Finding, ...] | None

    @property
    def breaking(self) -> bool:
        """Whether callers, or the configuration that is set, may no longer fit."""
        lost = any(one.before is not None for one in self.endpoints)
        broken = any(one.breaking for one in self.functions) or any(one.breaking for one in self.configuration)
        return lost or broken


def compare(before: PluginVersion, after: PluginVersion) -> Difference:
    """From one version to another; either may be the higher."""
    one, other = before.manifest, after.manifest
    known = bool(before.report.format and after.report.format)
    return Difference(
        before.number,
        after.number,
        compare_permissions(one.permissions, other.permissions),
        _values(_dependencies(one), _dependencies(other)),
        _functions(before, after),
        _values(_endpoints(one), _endpoints(other)),
        compare_schemas(one.configuration, other.configuration, Direction.SENT),
        _values(_settings(one), _settings(other)),
        _beyond(after.report, before.report) if known else None,
        _beyond(before.report, after.report) if known else None,
    )


def _functions(before: PluginVersion, after: PluginVersion) -> tuple[FunctionChange, ...]:
    names = dict.fromkeys((*before.functions, *after.functions))
    changes = [_function(name, before, after) for name in names]
    return tuple(one for one in changes if one is not None)


def _function(name: str, before: PluginVersion, after: PluginVersion) -> FunctionChange | None:
    was, now = name in before.functions, name in after.functions
    one = before.manifest.functions.get(name, FunctionSpec(name))
    other = after.manifest.functions.get(name, FunctionSpec(name))
    if not now:
        return FunctionChange(name, Change.REMOVED, one.effect, None, one.description, None)
    if not was:
        return FunctionChange(name, Change.ADDED, None, other.effect, None, other.description)
    if one == other:
        return None
    return FunctionChange(
        name,
        Change.CHANGED,
        one.effect,
        other.effect,
        one.description,
        other.description,
        compare_schemas(one.input, other.input, Direction.SENT),
        compare_schemas(one.output, other.output, Direction.GOT),
    )


def _dependencies(manifest: Manifest) -> dict[str, Any]:
    named = manifest.document.get("dependencies", {})
    plugins = {f"/dependencies/plugins/{name}": text for name, text in named.get("plugins", {}).items()}
    return {**{f"/dependencies/{name}": text for name, text in named.items() if name != "plugins"}, **plugins}


def _endpoints(manifest: Manifest) -> dict[str, Any]:
    return {f"{one.method} {one.path}": one.handler for one in manifest.endpoints}


def _settings(manifest: Manifest) -> dict[str, Any]:
    """What an admin may want to know beside what is asked: how it runs, and what sets it off."""
    document = manifest.document
    limits = document.get("security", {}).get("resourceLimits", {})
    return {
        "/runtime": manifest.runtime.value,
        "/entry": manifest.entry,
        "/security/isolation": manifest.isolation.value,
        "/security/modules": sorted(manifest.modules) if manifest.modules is not None else None,
        **{f"/security/resourceLimits/{word}": value for word, value in limits.items()},
        "/events/subscribes": document.get("events", {}).get("subscribes"),
        "/schedules": document.get("schedules"),
    }


def _values(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ValueChange, ...]:
    places = dict.fromkeys((*before, *after))
    changes = (ValueChange(place, before.get(place), after.get(place)) for place in places)
    return tuple(one for one in changes if one.before != one.after)


def _beyond(one: Report, other: Report) -> tuple[Finding, ...]:
    """The findings of one report that the other has not; a finding that only moved to another line is the same."""
    left = Counter(map(_sense, other.findings))
    found = []
    for finding in one.findings:
        sense = _sense(finding)
        if left[sense]:
            left[sense] -= 1
        else:
            found.append(finding)
    return tuple(found)


def _sense(finding: Finding) -> tuple[str, str, str]:
    return finding.rule, finding.where, finding.severity.value


__all__ = ["Change", "Difference", "FunctionChange", "ValueChange", "compare"]
