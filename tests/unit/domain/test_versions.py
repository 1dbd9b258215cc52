"""Versions keep to Semantic Versioning 2.0.0, and ranges to what npm reads."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.versions import MAX_LENGTH, InvalidRange, InvalidVersion, Version, VersionRange

NUMBERS = st.integers(0, 10**14)
WORDS = st.from_regex(r"[0-9A-Za-z-]{0,6}[A-Za-z-][0-9A-Za-z-]{0,6}", fullmatch=True)
BUILDS = st.lists(st.from_regex(r"[0-9A-Za-z-]{1,6}", fullmatch=True), max_size=3).map(".".join)
PRERELEASES = st.lists(st.one_of(st.integers(0, 10**9), WORDS), max_size=3).map(tuple)
VERSIONS = st.builds(Version, NUMBERS, NUMBERS, NUMBERS, PRERELEASES, BUILDS)
# Few different values, so that equal and neighbouring versions are common.
CLOSE = st.builds(
    Version,
    st.integers(0, 1),
    st.integers(0, 1),
    st.integers(0, 1),
    st.lists(st.one_of(st.integers(0, 2), st.sampled_from(["a", "b", "-"])), max_size=2).map(tuple),
    st.sampled_from(["", "build"]),
)
# SemVer 2.0.0, section 11.
SPEC_CHAIN = (
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "2.0.0",
    "2.1.0",
    "2.1.1",
)


@given(VERSIONS)
def test_a_version_survives_being_written_and_read(version: Version) -> None:
    again = Version.parse(str(version))
    assert again == version
    assert (again.prerelease, again.build) == (version.prerelease, version.build)
    assert str(again) == str(version)


@given(CLOSE, CLOSE, CLOSE)
def test_precedence_is_a_total_order(first: Version, second: Version, third: Version) -> None:
    assert [first < second, first == second, first > second].count(True) == 1
    if first <= second <= third:
        assert first <= third
    if first == second:
        assert hash(first) == hash(second)


def test_the_specification_s_own_example_sorts_as_it_says() -> None:
    chain = [Version.parse(text) for text in SPEC_CHAIN]
    shuffled = random.Random(7).sample(chain, len(chain))
    assert sorted(shuffled) == chain
    assert all(low < high for low, high in itertools.pairwise(chain))


@given(VERSIONS, BUILDS)
def test_build_metadata_takes_no_part_in_precedence(version: Version, build: str) -> None:
    assert Version(version.major, version.minor, version.patch, version.prerelease, build) == version


def test_a_version_is_equal_to_no_other_kind_of_value() -> None:
    assert Version.parse("1.0.0") != "1.0.0"
    with pytest.raises(TypeError):
        assert Version.parse("1.0.0") < "2.0.0"  # type: ignore[operator]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.0",
        "v1.0.0",
        "1.0.0.0",
        "01.0.0",
        "1.0.0-",
        "1.0.0-01",
        "1.0.0-a..b",
        "1.0.0+",
        " 1.0.0",
        "1.0.0\n",
        "1.0.0-ä",
        "\u0661.0.0",
        "1.0.0-" + "a" * MAX_LENGTH,
        "1234567890123456.0.0",
        "-1.0.0",
    ],
)
def test_what_is_no_semantic_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidVersion):
        Version.parse(text)


# The answers of npm's own semver for the same pairs.
NPM = [
    ("^1.2.3", "1.9.0", True),
    ("^1.2.3", "2.0.0", False),
    ("^0.2.3", "0.2.9", True),
    ("^0.2.3", "0.3.0", False),
    ("^0.0.3", "0.0.4", False),
    ("~1.2.3", "1.2.9", True),
    ("~1.2.3", "1.3.0", False),
    ("~1", "1.9.9", True),
    ("1.x || 2.x", "2.5.0", True),
    ("1.x || 2.x", "3.0.0", False),
    ("", "7.8.9", True),
    ("*", "7.8.9", True),
    ("*", "1.0.0-rc.1", False),
    (">=1.0.0-rc.1", "1.0.0-rc.2", True),
    (">=1.0.0-rc.1 <2", "1.5.0-rc.1", False),
    ("1.2.3 - 2.3", "2.3.9", True),
    ("1.2.3 - 2.3", "2.4.0", False),
    (">1.2", "1.2.9", False),
    ("<=1.2", "1.2.9", True),
    (">=1.0.0 <3.0.0", "2.9.9", True),
    (">= 1.0.0", "1.0.0", True),
    ("=1.0.0", "1.0.0+build", True),
    ("1.2.3 1.2.4", "1.2.3", False),
]


@pytest.mark.parametrize(("text", "version", "admitted"), NPM)
def test_a_range_admits_what_npm_s_does(text: str, version: str, admitted: bool) -> None:
    assert VersionRange.parse(text).admits(Version.parse(version)) is admitted


@pytest.mark.parametrize("text", ["latest", "^", ">=", "^1.2.3 junk", "1 - 2 - 3", "01.2.3", "1.\t2", "≥1", "1" * 101])
def test_what_npm_cannot_read_is_no_range(text: str) -> None:
    with pytest.raises(InvalidRange):
        VersionRange.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_a_range_or_an_invalid_range(text: str) -> None:
    try:
        VersionRange.parse(text).admits(Version.parse("1.0.0"))
    except InvalidRange:
        return


@given(st.builds(Version, NUMBERS, NUMBERS, NUMBERS, PRERELEASES))
def test_a_range_of_one_version_admits_it_and_the_next_patch_not(version: Version) -> None:
    exact = VersionRange(f"={version}")
    assert exact.admits(version)
    assert not exact.admits(Version(version.major, version.minor, version.patch + 1))


def test_an_empty_range_is_shown_as_a_star() -> None:
    assert str(VersionRange.parse("")) == "*"
    assert str(VersionRange.parse("^1")) == "^1"
