"""Which versions of which plugins satisfy a plugin's dependencies, or why none do.

Resolution is resolvelib's; what a dependency is, which version is preferred and how a conflict is told are ours.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import resolvelib

from plugyard.domain.versions import Version, VersionRange


@dataclass(frozen=True)
class Requirement:
    """``name`` in ``range``, asked for by ``asked_by``."""

    name: str
    range: VersionRange
    asked_by: str


@dataclass(frozen=True)
class Candidate:
    """A version of a plugin that could serve, with what it needs itself. ``current`` marks the one now in use."""

    name: str
    version: Version
    requires: Mapping[str, VersionRange] = field(default_factory=dict)
    platform: VersionRange | None = None
    current: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Unresolvable(Exception):
    """The dependencies cannot all be met; ``explanation`` has a sentence for each reason."""

    def __init__(self, explanation: Sequence[str]) -> None:
        super().__init__("; ".join(explanation))
        self.explanation = tuple(explanation)


class _Provider(resolvelib.AbstractProvider[Requirement, Candidate, str]):
    def __init__(self, universe: Mapping[str, Sequence[Candidate]], platform: Version) -> None:
        self._universe, self._platform = universe, platform

    def identify(self, requirement_or_candidate: Requirement | Candidate) -> str:
        return requirement_or_candidate.name

    def get_preference(self, identifier: str, *_: Any, **__: Any) -> tuple[int, str]:
        # The name with the fewest candidates first, then by name, so that the answer never depends on chance.
        return (len(self._universe.get(identifier, ())), identifier)

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Requirement]],
        incompatibilities: Mapping[str, Iterator[Candidate]],
    ) -> list[Candidate]:
        wanted = list(requirements[identifier])
        excluded = {candidate.version for candidate in incompatibilities[identifier]}
        matching = [
            candidate
            for candidate in self._universe.get(identifier, ())
            if candidate.version not in excluded
            and all(requirement.range.admits(candidate.version) for requirement in wanted)
            and (candidate.platform is None or candidate.platform.admits(self._platform))
        ]
        return sorted(matching, key=lambda one: (one.current, one.version), reverse=True)

    def is_satisfied_by(self, requirement: Requirement, candidate: Candidate) -> bool:
        return requirement.range.admits(candidate.version)

    def get_dependencies(self, candidate: Candidate) -> Iterable[Requirement]:
        return [Requirement(name, range_, str(candidate)) for name, range_ in candidate.requires.items()]


def resolve(root: Candidate, universe: Iterable[Candidate], platform: Version) -> dict[str, Version]:
    """The version for every plugin that ``root`` needs, directly or through others.

    The version in use is preferred, then the highest. Raises ``Unresolvable`` with an explanation.
    """
    if root.platform is not None and not root.platform.admits(platform):
        raise Unresolvable([f"{root} needs the platform {root.platform}, and this is {platform}"])
    by_name: dict[str, list[Candidate]] = {}
    for candidate in universe:
        if candidate.name != root.name:
            by_name.setdefault(candidate.name, []).append(candidate)
    by_name[root.name] = [root]
    start = [Requirement(root.name, VersionRange(f"={root.version}"), "this package")]
    try:
        result = resolvelib.Resolver(_Provider(by_name, platform), resolvelib.BaseReporter()).resolve(start, 500)
    except resolvelib.ResolutionImpossible as error:
        raise Unresolvable(_explain([cause.requirement for cause in error.causes], by_name, platform)) from error
    except resolvelib.ResolutionTooDeep as error:
        raise Unresolvable(["the dependencies are too entangled to be resolved in 500 rounds"]) from error
    return {name: candidate.version for name, candidate in result.mapping.items() if name != root.name}


def _explain(
    causes: Sequence[Requirement], universe: Mapping[str, Sequence[Candidate]], platform: Version
) -> list[str]:
    lines = []
    for cause in dict.fromkeys(causes):
        there = sorted(universe.get(cause.name, ()), key=lambda one: one.version)
        if not there:
            known = "there is no plugin of that name here or in the marketplace"
        else:
            unfit = [one for one in there if one.platform is not None and not one.platform.admits(platform)]
            known = "there is " + ", ".join(
                f"{one.version} (which needs the platform {one.platform})" if one in unfit else str(one.version)
                for one in there
            )
        lines.append(f"{cause.asked_by} needs {cause.name} {cause.range}; {known}")
    return lines
