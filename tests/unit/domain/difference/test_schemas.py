"""Each change of a schema has its place, its sense, and a judgement that holds for callers."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugyard.domain.difference.schemas import MOST_CHANGES, Direction, Schema, Shift, compare_schemas

SENT, GOT = Direction.SENT, Direction.GOT
N, W, C, X = Shift.NARROWED, Shift.WIDENED, Shift.CHANGED, Shift.NOTED


def properties(**named: Any) -> dict[str, Any]:
    return {"type": "object", "properties": named}


STRING = {"type": "string"}
A = properties(a=STRING)

# before, after, where, keyword, shift, breaks callers who send, breaks callers who get
CASES: list[tuple[Schema, Schema, str, str, Shift, bool, bool]] = [
    (A, {**A, "required": ["a"]}, "/properties/a", "required", N, True, False),
    ({**A, "required": ["a"]}, A, "/properties/a", "required", W, False, True),
    (A, properties(a=STRING, b=STRING), "/properties/b", "properties", X, False, False),
    (A, properties(a={"type": "number"}), "/properties/a", "type", C, True, True),
    (A, properties(a={"type": ["string", "null"]}), "/properties/a", "type", W, False, True),
    (properties(a={"type": ["string", "null"]}), A, "/properties/a", "type", N, True, False),
    ({"type": "integer"}, {"type": "number"}, "", "type", W, False, True),
    ({"type": "number"}, {"type": "integer"}, "", "type", N, True, False),
    (None, STRING, "", "type", N, True, False),
    (STRING, None, "", "type", W, False, True),
    (STRING, True, "", "type", W, False, True),
    (STRING, False, "", "", N, True, False),
    (False, STRING, "", "", W, False, True),
    ({"enum": ["a", "b"]}, {"enum": ["a"]}, "", "enum", N, True, False),
    ({"enum": ["a"]}, {"enum": ["a", 1]}, "", "enum", W, False, True),
    ({"enum": ["a"]}, {"enum": ["b"]}, "", "enum", C, True, True),
    ({"const": "a"}, {"enum": ["a", "b"]}, "", "const", W, False, True),
    (STRING, {**STRING, "enum": ["a"]}, "", "enum", N, True, False),
    ({**STRING, "maxLength": 5}, {**STRING, "maxLength": 6}, "", "maxLength", W, False, True),
    ({**STRING, "maxLength": 6}, {**STRING, "maxLength": 5}, "", "maxLength", N, True, False),
    ({"minimum": 1}, {"minimum": 2}, "", "minimum", N, True, False),
    ({"minimum": 1}, {}, "", "minimum", W, False, True),
    ({}, {"exclusiveMaximum": 3}, "", "exclusiveMaximum", N, True, False),
    (STRING, {**STRING, "pattern": "^a"}, "", "pattern", N, True, False),
    ({**STRING, "pattern": "^a"}, STRING, "", "pattern", W, False, True),
    ({**STRING, "pattern": "^a"}, {**STRING, "pattern": "^b"}, "", "pattern", C, True, True),
    ({"if": A}, {"if": STRING}, "", "if", C, True, True),
    ({"type": "array"}, {"type": "array", "uniqueItems": True}, "", "uniqueItems", N, True, False),
    ({"items": STRING}, {"items": {"type": "null"}}, "/items", "type", C, True, True),
    ({"items": STRING}, {}, "/items", "type", W, False, True),
    ({"prefixItems": [STRING]}, {"prefixItems": [STRING, STRING]}, "/prefixItems/1", "type", N, True, False),
    ({"anyOf": [A]}, {"anyOf": [A, STRING]}, "", "anyOf", W, False, True),
    ({"allOf": [A]}, {"allOf": [A, STRING]}, "", "allOf", N, True, False),
    (A, {**A, "additionalProperties": False}, "/additionalProperties", "", N, True, False),
    (A, {**A, "additionalProperties": STRING}, "/additionalProperties", "type", N, True, False),
    ({**STRING, "description": "x"}, STRING, "", "description", X, False, False),
    ({**STRING, "default": 1}, {**STRING, "default": 2}, "", "default", X, False, False),
    (properties(**{"a/b~c": STRING}), properties(**{"a/b~c": True}), "/properties/a~1b~0c", "type", W, False, True),
    (properties(a=A), properties(a={**A, "required": ["a"]}), "/properties/a/properties/a", "required", N, True, False),
]


@pytest.mark.parametrize(("before", "after", "pointer", "keyword", "shift", "sent", "got"), CASES)
def test_a_change_has_its_place_and_breaks_whom_it_breaks(
    before: Schema, after: Schema, pointer: str, keyword: str, shift: Shift, sent: bool, got: bool
) -> None:
    (change,) = compare_schemas(before, after, SENT)
    assert (change.pointer, change.shift, change.breaking) == (pointer, shift, sent)
    assert change.keyword == keyword
    assert change.what
    for one in compare_schemas(before, after, GOT):
        assert (one.pointer, one.breaking) == (pointer, got)


def test_a_property_that_is_gone_breaks_those_who_get_it_and_those_who_may_no_longer_send_it() -> None:
    before, after = properties(a=STRING, b=STRING), properties(a=STRING)
    (got,) = compare_schemas(before, after, GOT)
    assert (got.pointer, got.breaking) == ("/properties/b", True)
    (sent,) = compare_schemas(before, after, SENT)
    assert (sent.shift, sent.breaking) == (X, False)
    closed = {"additionalProperties": False}
    (refused,) = compare_schemas({**before, **closed}, {**after, **closed}, SENT)
    assert (refused.pointer, refused.shift, refused.breaking) == ("/properties/b", N, True)


def test_a_new_property_that_is_required_at_once_breaks_those_who_send() -> None:
    after = {**properties(a=STRING, b=STRING), "required": ["b"]}
    changes = compare_schemas(A, after, SENT)
    assert [(one.keyword, one.breaking) for one in changes] == [("properties", False), ("required", True)]
    assert {one.pointer for one in changes} == {"/properties/b"}


def test_further_properties_are_of_no_matter_to_those_who_get_them() -> None:
    closed = {**A, "additionalProperties": False}
    for pair in ((A, closed), (closed, A)):
        (change,) = compare_schemas(*pair, GOT)
        assert (change.shift, change.breaking) == (X, False)


def test_local_references_are_followed() -> None:
    def through(target: dict[str, Any]) -> dict[str, Any]:
        return {"$ref": "#/$defs/it", "$defs": {"it": target}}

    assert compare_schemas(through(STRING), STRING, SENT) == ()
    (change,) = compare_schemas(through(STRING), through({"type": "null"}), SENT)
    assert (change.keyword, change.shift) == ("type", C)
    (beside,) = compare_schemas(through(STRING), {**through(STRING), "maxLength": 3}, SENT)
    assert (beside.keyword, beside.shift) == ("maxLength", N)


def test_a_reference_that_leads_nowhere_is_compared_as_it_stands() -> None:
    (change,) = compare_schemas({"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, SENT)
    assert (change.shift, change.breaking) == (C, True)
    assert compare_schemas({"$ref": "#/x"}, {"$ref": "#/x"}, SENT) == ()


def test_schemas_that_refer_to_themselves_are_compared_to_an_end() -> None:
    def tree(value: dict[str, Any]) -> dict[str, Any]:
        node = {"type": "object", "properties": {"value": value, "left": {"$ref": "#"}, "right": {"$ref": "#"}}}
        return {**node, "items": {"$ref": "#"}}

    (change,) = compare_schemas(tree(STRING), tree({"type": "null"}), SENT)
    assert change.pointer == "/properties/value"
    changes = compare_schemas(tree(STRING), {"type": "object"}, SENT)
    assert 0 < len(changes) <= MOST_CHANGES
    for endless in ({"$ref": "#"}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}):
        assert len(compare_schemas(endless, A, SENT)) <= MOST_CHANGES


def test_schemas_that_stand_for_endless_ones_cost_little() -> None:
    doubled = {f"d{n}": properties(x={"$ref": f"#/$defs/d{n + 1}"}, y={"$ref": f"#/$defs/d{n + 1}"}) for n in range(40)}
    before = {"$ref": "#/$defs/d0", "$defs": {**doubled, "d40": STRING}}
    after = {"$ref": "#/$defs/d0", "$defs": {**doubled, "d40": {"type": "null"}}}
    assert len(compare_schemas(before, after, SENT)) == 1
    many = {"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}, "prefixItems": [{"$ref": "#"}]}
    assert len(compare_schemas(many, True, SENT)) <= MOST_CHANGES


def test_a_schema_without_end_lists_so_many_changes_at_most() -> None:
    wide = properties(**{f"p{number}": STRING for number in range(MOST_CHANGES + 10)})
    assert len(compare_schemas(A, wide, SENT)) == MOST_CHANGES


VALUES = st.sampled_from([None, True, 0, 1, 2.5, "", "a", "bb", [], ["a"], [1, 1], {}, {"a": "a"}, {"a": 1}, {"b": 1}])
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "number", "integer", "object", "array", ["string", "null"]]),
        "enum": st.lists(st.sampled_from(["a", "bb", 1, None]), min_size=1, max_size=3, unique_by=str),
        "minLength": st.integers(0, 2),
        "maximum": st.integers(0, 2),
        "maxItems": st.integers(0, 1),
        "uniqueItems": st.booleans(),
        "required": st.sampled_from([["a"], ["a", "b"]]),
        "additionalProperties": st.booleans(),
    },
)
NESTED = st.builds(
    lambda plain, inner: {**plain, **inner},
    PLAIN,
    st.fixed_dictionaries(
        {}, optional={"items": PLAIN, "properties": st.fixed_dictionaries({}, optional={"a": PLAIN})}
    ),
)


@settings(max_examples=300)
@given(NESTED, NESTED, VALUES)
def test_what_was_accepted_is_accepted_still_where_nothing_breaks_those_who_send(
    before: dict[str, Any], after: dict[str, Any], value: Any
) -> None:
    changes = compare_schemas(before, after, SENT)
    if any(one.breaking for one in changes):
        return
    # The one rule that is of custom and not of logic: a new optional property breaks nobody who did not send it.
    new = set(after.get("properties", {})) - set(before.get("properties", {}))
    if isinstance(value, dict) and new & set(value):
        return
    if jsonschema_rs.is_valid(before, value):
        assert jsonschema_rs.is_valid(after, value), changes


@given(NESTED)
def test_a_schema_does_not_differ_from_itself(schema: dict[str, Any]) -> None:
    assert compare_schemas(schema, schema, SENT) == compare_schemas(schema, dict(schema), GOT) == ()
