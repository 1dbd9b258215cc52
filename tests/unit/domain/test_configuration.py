"""Configuration: merge patches as RFC 7396 has them, defaults, and secrets that stay hidden."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.configuration import MASK, masked, merge_patch, secret_names, split_secrets, with_defaults

# RFC 7396, appendix A, each row: the original, the patch, the result.
RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396)
def test_a_merge_patch_does_what_the_rfc_s_examples_do(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@given(OBJECTS, OBJECTS)
def test_a_patch_applied_twice_is_a_patch_applied_once(target: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(OBJECTS, OBJECTS)
def test_a_patch_leaves_what_it_is_applied_to(target: dict[str, Any], patch: dict[str, Any]) -> None:
    before = repr(target)
    merge_patch(target, patch)
    assert repr(target) == before


def test_defaults_fill_what_is_not_set_also_inside_objects() -> None:
    schema = {
        "properties": {
            "currency": {"default": "EUR"},
            "mail": {"default": {}, "properties": {"from": {"default": "no-reply"}, "to": {}}},
            "strict": True,
            "plain": {"type": "string"},
        }
    }
    assert with_defaults(schema, {"mail": {"to": "ada"}}) == {
        "mail": {"to": "ada", "from": "no-reply"},
        "currency": "EUR",
    }
    assert with_defaults(schema, {"currency": "USD", "mail": "none"}) == {"currency": "USD", "mail": "none"}
    assert with_defaults(None, {"a": 1}) == {"a": 1}


SECRET = {"type": "string", "writeOnly": True}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"token": SECRET, "plain": {}}},
        {"properties": {"token": {"type": "object", "properties": {"inner": SECRET}}, "plain": True}},
        {"properties": {"token": {"type": "array", "items": SECRET}}},
        {"properties": {"token": {"$ref": "#/$defs/secret"}}, "$defs": {"secret": SECRET}},
        {"properties": {"token": {"$ref": "#/$defs/a~1b/0"}}, "$defs": {"a/b": [{"anyOf": [{}, SECRET]}]}},
        {"allOf": [{"properties": {"token": SECRET}}]},
        {"if": {}, "then": {"properties": {"token": SECRET}}},
        {"$ref": "#/$defs/all", "$defs": {"all": {"properties": {"token": SECRET}}}},
    ],
)
def test_a_property_that_holds_a_secret_anywhere_is_secret(schema: dict[str, Any]) -> None:
    assert secret_names(schema) == {"token"}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"properties": {"plain": {"writeOnly": False}, "other": {"$ref": "#/$defs/none"}, "loop": {"$ref": "#"}}},
        {"properties": {"writeOnly": {"type": "boolean"}, "plain": {"default": {"writeOnly": True}}}},
        {"properties": {"plain": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
    ],
)
def test_what_is_not_marked_is_not_secret(schema: dict[str, Any] | None) -> None:
    assert secret_names(schema) == frozenset()


def test_secrets_are_kept_apart_and_shown_as_a_mask() -> None:
    schema = {"properties": {"token": SECRET, "url": {}}}
    plain, secrets = split_secrets(schema, {"token": "s3cret", "url": "https://acme.com"})
    assert (plain, secrets) == ({"url": "https://acme.com"}, {"token": "s3cret"})
    shown = masked(plain, secrets)
    assert shown == {"url": "https://acme.com", "token": MASK}
    assert "s3cret" not in repr(shown)
