"""Authors' schemas are hostile input: checked by pointer, fenced in, compiled once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.application import schemas
from plugyard.application.schemas import MAX_CACHED, MAX_ERRORS, compiled, deeper_than, pointer, violations

NESTED = st.recursive(st.integers(), lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nope"},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/none"},
        {"pattern": "("},
        {"pattern": "(?=lookahead)"},
        {"pattern": "((a{100}){100}){100}"},
    ],
)
def test_a_schema_that_is_wrong_or_reaches_out_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        compiled(schema)


def test_a_pattern_that_explodes_elsewhere_takes_linear_time_here() -> None:
    assert violations(("explosive",), {"pattern": "^(a+)+$"}, "a" * 50_000 + "b")


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"$dynamicRef": "#"}])
def test_a_schema_that_turns_in_a_circle_ends(schema: dict[str, object]) -> None:
    assert violations(("circle", repr(schema)), schema, {"a": 1}) == ()


def test_formats_are_checked() -> None:
    assert violations(("format",), {"format": "email"}, "no address")


def test_no_more_than_fifty_errors_are_told_each_of_bounded_length() -> None:
    found = violations(("many",), {"items": {"type": "integer"}}, ["x" * 600] + ["y"] * 200, prefix="/input")
    assert len(found) == MAX_ERRORS
    assert found[7].pointer == "/input/7"
    assert all(len(error.message) <= 500 for error in found)


@pytest.mark.parametrize("value", [["x"] * 10_000, [{"key": "x" * 5_000}], [["x" * 10] * 500]])
def test_of_a_large_value_the_first_error_is_told(value: list[object]) -> None:
    found = violations(("large",), {"items": {"type": "integer"}}, value, prefix="/input")
    assert [error.pointer for error in found] == ["/input/0"]
    assert len(found[0].message) <= 500


def test_a_schema_is_compiled_once_and_old_ones_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    schemas._compiled.clear()
    violations(("first",), True, 1)
    held = schemas._compiled["first",]
    violations(("first",), True, 2)
    assert schemas._compiled["first",] is held
    for number in range(MAX_CACHED):
        violations(("more", str(number)), True, 1)
    assert len(schemas._compiled) == MAX_CACHED
    assert ("first",) not in schemas._compiled


def test_pointers_are_escaped() -> None:
    assert pointer(["a/b", 0, "c~d"]) == "/a~1b/0/c~0d"
    assert pointer([]) == ""


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(NESTED, st.integers(0, 6))
def test_depth_is_counted_exactly(value: object, limit: int) -> None:
    assert deeper_than(limit, json.dumps(value).encode(), value) is (depth(value) > limit)
