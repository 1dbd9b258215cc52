"""What is wrong with a body is told without building more than the body is worth."""

from typing import Any

import msgspec
import pytest

from plugyard.domain.errors import InvalidInput
from plugyard.http.bodies import MAX_ERRORS, decode
from plugyard.http.commands import CONFIGURATION_PATCH, ChangeTenant, RateListing
from plugyard.http.problems import MalformedJson


def faults_of_patch(patch: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        decode(msgspec.json.encode(patch), dict[str, Any], schema="configuration patch", document=CONFIGURATION_PATCH)
    return [one.pointer for one in raised.value.errors]


def nested(levels: int, inmost: Any) -> Any:
    for _ in range(levels):
        inmost = [0, 0, inmost]
    return inmost


def test_a_fault_deep_in_a_configuration_is_told_where_it_is_and_not_once_more_for_each_level() -> None:
    assert faults_of_patch({"a": nested(100, "\0")}) == ["/a" + "/2" * 100]


def test_small_configurations_are_told_of_with_all_of_their_faults() -> None:
    assert set(faults_of_patch({"a": "\0", "b": {"c": ["x", "\0"]}, "d": "x\0"})) == {"/a", "/b/c/1", "/d"}


@pytest.mark.parametrize(
    "patch", [{"a": {f"\0{number}": 0 for number in range(1_000)}}, {"a": ["\0"] * 1_000}], ids=["names", "values"]
)
def test_of_a_configuration_that_is_not_small_the_first_fault_is_told(patch: dict[str, Any]) -> None:
    """Every error over a name has a copy of the object with all its names."""
    assert len(faults_of_patch(patch)) == 1


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", [], {}, [{"a": [None, False, "x" * 65_536]}]])
def test_a_configuration_is_any_json(value: Any) -> None:
    raw = msgspec.json.encode({"a": value})
    decode(raw, dict[str, Any], schema="configuration patch", document=CONFIGURATION_PATCH)


@pytest.mark.parametrize("patch", [{"a": "x" * 65_537}, {"a": [{"x" * 201: 1}]}, {"x" * 201: 1}, {"a\0": 1}])
def test_what_no_configuration_holds_is_refused(patch: dict[str, Any]) -> None:
    assert len(faults_of_patch(patch)) == 1


def test_every_fault_of_a_body_is_told_up_to_a_number_and_of_a_large_one_the_first() -> None:
    def faults(modules: list[str]) -> list[str]:
        with pytest.raises(InvalidInput) as raised:
            decode(msgspec.json.encode({"modulesDenied": modules}), ChangeTenant)
        return [one.pointer for one in raised.value.errors]

    assert faults(["!", "os", "!"]) == ["/modulesDenied/0", "/modulesDenied/2"]
    assert len(faults(["!"] * 400)) == MAX_ERRORS
    assert faults(["!" * 90] * 400) == ["/modulesDenied/0"]


def test_unknown_fields_are_told_of_up_to_a_number() -> None:
    with pytest.raises(InvalidInput) as raised:
        decode(msgspec.json.encode({f"f{number}": 0 for number in range(1_000)}), RateListing)
    assert len(raised.value.errors) == MAX_ERRORS


@pytest.mark.parametrize("levels", [260, 900, 100_000])
def test_a_wrong_body_that_nests_deep_is_refused(levels: int) -> None:
    """The library that tells of faults follows no value so far, and says so by an error of its own."""
    raw = b'{"stars": 1, "other": ' + b"[" * levels + b"]" * levels + b"}"
    with pytest.raises(MalformedJson, match="too deep"):
        decode(raw, RateListing)
    raw = b'{"a": ["\\u0000", ' + b"[" * levels + b"]" * levels + b"]}"
    with pytest.raises(MalformedJson, match="too deep"):
        decode(raw, dict[str, Any], schema="configuration patch", document=CONFIGURATION_PATCH)
