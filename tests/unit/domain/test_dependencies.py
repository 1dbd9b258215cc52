"""Dependencies are resolved to versions that fit every range, the same each time, or explained."""

from typing import Any

import pytest
import resolvelib
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.dependencies import Candidate, Unresolvable, resolve
from plugyard.domain.versions import Version, VersionRange

PLATFORM = Version.parse("1.4.0")
NAMES = ("a", "b", "c", "d")


def candidate(name: str, version: str, *, platform: Any = None, current: Any = False, **needs: str) -> Candidate:
    requires = {one: VersionRange.parse(text) for one, text in needs.items()}
    return Candidate(
        name, Version.parse(version), requires, VersionRange.parse(platform) if platform else None, current
    )


@st.composite
def universes(draw: st.DrawFn) -> list[Candidate]:
    ranges = st.sampled_from(["*", "^1.0.0", "^2.0.0", ">=1.1.0", "<2.0.0", "1.1.0"])
    made = []
    for name in NAMES:
        for version in draw(st.sets(st.sampled_from(["1.0.0", "1.1.0", "2.0.0", "2.1.0"]), max_size=3)):
            needs = draw(st.dictionaries(st.sampled_from(NAMES), ranges, max_size=2))
            platform = draw(st.sampled_from([None, ">=1.0.0", ">=2.0.0"]))
            made.append(candidate(name, version, platform=platform, **needs))
    return made


def outcome(root: Candidate, universe: list[Candidate]) -> dict[str, Version] | tuple[str, ...]:
    try:
        return resolve(root, universe, PLATFORM)
    except Unresolvable as error:
        return error.explanation


@given(
    universes(),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["*", "^1.0.0", "^2.0.0"]), min_size=1, max_size=3),
)
def test_a_resolution_satisfies_every_range_and_is_the_same_each_time(
    universe: list[Candidate], needs: dict[str, str]
) -> None:
    root = candidate("root", "1.0.0", **needs)
    found = outcome(root, universe)
    assert found
    assert outcome(root, list(reversed(universe))) == found
    if isinstance(found, tuple):
        return
    held = {(one.name, one.version): one for one in universe}
    chosen = [root, *(held[name, version] for name, version in found.items())]
    for one in chosen:
        assert one.platform is None or one.platform.admits(PLATFORM)
        for name, range_ in one.requires.items():
            assert range_.admits(found[name])


def test_the_highest_version_that_fits_is_chosen() -> None:
    universe = [candidate("tax", text) for text in ("1.0.0", "1.2.0", "2.0.0")]
    assert resolve(candidate("root", "1.0.0", tax="^1.0.0"), universe, PLATFORM) == {"tax": Version.parse("1.2.0")}


def test_the_version_in_use_is_preferred_to_a_higher_one() -> None:
    universe = [candidate("tax", "1.0.0", current=True), candidate("tax", "1.2.0")]
    assert resolve(candidate("root", "1.0.0", tax="^1.0.0"), universe, PLATFORM) == {"tax": Version.parse("1.0.0")}


def test_what_a_dependency_needs_is_resolved_with_it() -> None:
    universe = [candidate("tax", "1.0.0", rates="^2.0.0"), candidate("rates", "2.1.0"), candidate("rates", "3.0.0")]
    found = resolve(candidate("root", "1.0.0", tax="*"), universe, PLATFORM)
    assert {name: str(version) for name, version in found.items()} == {"tax": "1.0.0", "rates": "2.1.0"}


def test_plugins_that_need_each_other_are_resolved() -> None:
    universe = [candidate("tax", "1.0.0", root="^1.0.0"), candidate("root", "0.9.0")]
    assert resolve(candidate("root", "1.0.0", tax="*"), universe, PLATFORM) == {"tax": Version.parse("1.0.0")}


def test_a_name_that_is_nowhere_is_explained() -> None:
    with pytest.raises(Unresolvable) as caught:
        resolve(candidate("root", "1.0.0", tax="^1.0.0"), [], PLATFORM)
    assert caught.value.explanation == (
        "root 1.0.0 needs tax ^1.0.0; there is no plugin of that name here or in the marketplace",
    )


def test_a_conflict_between_two_names_both_and_what_there_is() -> None:
    universe = [
        candidate("tax", "1.0.0", rates="^1.0.0"),
        candidate("rates", "2.0.0"),
        candidate("rates", "1.0.0", platform=">=9.0.0"),
    ]
    with pytest.raises(Unresolvable) as caught:
        resolve(candidate("root", "1.0.0", tax="*", rates="^2.0.0"), universe, PLATFORM)
    text = " | ".join(caught.value.explanation)
    assert "rates" in text
    assert "1.0.0 (which needs the platform >=9.0.0), 2.0.0" in text


def test_a_platform_that_is_too_old_is_explained() -> None:
    with pytest.raises(Unresolvable, match=r"needs the platform >=2.0.0, and this is 1.4.0"):
        resolve(candidate("root", "1.0.0", platform=">=2.0.0"), [], PLATFORM)


@pytest.mark.parametrize("version", ["1.0.0-rc.1", "1.0.0+build.7", "1.0.0-" + "a" * 94])
def test_every_version_can_be_a_root(version: str) -> None:
    assert resolve(candidate("root", version), [], PLATFORM) == {}


def test_a_resolution_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: object, **__: object) -> None:
        raise resolvelib.ResolutionTooDeep(500)

    monkeypatch.setattr(resolvelib.Resolver, "resolve", endless)
    with pytest.raises(Unresolvable, match="too entangled"):
        resolve(candidate("root", "1.0.0", tax="*"), [], PLATFORM)
