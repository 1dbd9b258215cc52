"""Two JSON Schemas (2020-12) compared place by place, and whether a change breaks those who call.

What callers send (``input``, ``configuration``) breaks when less is accepted; what they get (``output``) breaks when it
may be something else than before. What cannot be compared by meaning counts as breaking. docs/consent.md has the rules.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MOST_CHANGES = 500
_DEEPEST = 64
# Places looked at; references can make small schemas stand for endless ones.
_MOST_PLACES = 20_000
_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_ANNOTATIONS = (
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment",
)  # fmt: skip
_SILENT = frozenset({"$defs", "$schema", "$id", "$anchor", "definitions"})
_STRUCTURE = frozenset(
    {"type", "required", "properties", "additionalProperties", "items", "prefixItems", "enum", "const"}
)
# Each of these means something through the others alone.
_TOGETHER = frozenset({"if", "then", "else"})
_SCHEMA_LISTS = {"anyOf": True, "oneOf": True, "allOf": False}  # whether one more of them accepts more

Schema = Mapping[str, Any] | bool | None


class Direction(StrEnum):
    """Whether callers send what the schema tells of, or get it."""

    SENT = "sent"
    GOT = "got"


class Shift(StrEnum):
    """What became of what a place accepts; ``noted`` are words and defaults, which accept nothing."""

    NARROWED = "narrowed"
    WIDENED = "widened"
    CHANGED = "changed"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One place (an RFC 6901 pointer into the schema) and keyword that differ, in words, and whether callers break."""

    pointer: str
    keyword: str
    shift: Shift
    what: str
    breaking: bool


@dataclass(slots=True)
class _Comparison:
    before_root: Schema
    after_root: Schema
    direction: Direction
    changes: list[SchemaChange] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    places: int = 0

    def add(self, pointer: str, keyword: str, shift: Shift, what: str) -> None:
        if len(self.changes) >= MOST_CHANGES:
            return
        accepts_less = shift in (Shift.NARROWED, Shift.CHANGED)
        gives_other = shift in (Shift.WIDENED, Shift.CHANGED)
        breaking = accepts_less if self.direction is Direction.SENT else gives_other
        self.changes.append(SchemaChange(pointer, keyword, shift, what, breaking))


def compare_schemas(before: Schema, after: Schema, direction: Direction) -> tuple[SchemaChange, ...]:
    """Every change from one schema to another, at most ``MOST_CHANGES``; ``None`` is a schema that accepts anything."""
    # The whole schemas are being compared already when they refer to themselves.
    found = _Comparison(before, after, direction, seen={(" #", " #")})
    _compare(found, before, after, "", 0)
    return tuple(found.changes)


def _compare(found: _Comparison, before: Schema, after: Schema, pointer: str, depth: int) -> None:
    if before == after and not _has_references(before):
        return
    found.places += 1
    if found.places > _MOST_PLACES:
        if found.places == _MOST_PLACES + 1:
            found.add("", "", Shift.CHANGED, "the schemas are too large to be compared in full")
        return
    one, other = _resolved(found.before_root, before), _resolved(found.after_root, after)
    if one.reference and other.reference:
        pair = (one.reference, other.reference)
        # Each pair once: schemas may refer to themselves, and to one another many times over.
        if pair in found.seen:
            return
        found.seen.add(pair)
    if depth > _DEEPEST:
        if one.schema != other.schema:
            found.add(pointer, "", Shift.CHANGED, "differs below the depth that is compared")
        return
    if one.schema is False or other.schema is False:
        if one.schema != other.schema:
            shift = Shift.WIDENED if one.schema is False else Shift.NARROWED
            found.add(pointer, "", shift, "is allowed now" if one.schema is False else "is no longer allowed")
        return
    a, b = _as_object(one.schema), _as_object(other.schema)
    _compare_types(found, a, b, pointer)
    _compare_values(found, a, b, pointer)
    _compare_bounds(found, a, b, pointer)
    _compare_object(found, a, b, pointer, depth)
    _compare_array(found, a, b, pointer, depth)
    _compare_rest(found, a, b, pointer)


def _compare_types(found: _Comparison, a: Mapping[str, Any], b: Mapping[str, Any], pointer: str) -> None:
    before, after = _types(a), _types(b)
    lost, gained = _without(before, after), _without(after, before)
    if lost or gained:
        what = f"{_names(a)} became {_names(b)}"
        found.add(pointer, "type", _shift(bool(lost), bool(gained)), what)


def _compare_values(found: _Comparison, a: Mapping[str, Any], b: Mapping[str, Any], pointer: str) -> None:
    before, after = _values(a), _values(b)
    if before == after:
        return
    keyword = "const" if "const" in a or "const" in b else "enum"
    if before is None or after is None:
        what = "values are no longer fixed" if after is None else f"only {_listed(after)} are accepted now"
        found.add(pointer, keyword, Shift.WIDENED if after is None else Shift.NARROWED, what)
        return
    lost, gained = before - after, after - before
    told = [f"no longer {_listed(lost)}"] if lost else []
    told += [f"now also {_listed(gained)}"] if gained else []
    found.add(pointer, keyword, _shift(bool(lost), bool(gained)), ", ".join(told))


def _compare_bounds(found: _Comparison, a: Mapping[str, Any], b: Mapping[str, Any], pointer: str) -> None:
    for keyword in (*_LOWER, *_UPPER):
        before, after = a.get(keyword), b.get(keyword)
        if before == after:
            continue
        if before is None or after is None:
            tighter = before is None
        elif isinstance(before, int | float) and isinstance(after, int | float):
            tighter = after > before if keyword in _LOWER else after < before
        else:
            found.add(pointer, keyword, Shift.CHANGED, f"{before} became {after}")
            continue
        what = f"{'none' if before is None else before} became {'none' if after is None else after}"
        found.add(pointer, keyword, Shift.NARROWED if tighter else Shift.WIDENED, what)


def _compare_object(found: _Comparison, a: Mapping[str, Any], b: Mapping[str, Any], pointer: str, depth: int) -> None:
    before, after = _mapping(a.get("properties")), _mapping(b.get("properties"))
    required, still = _strings(a.get("required")), _strings(b.get("required"))
    for name in (*before, *(name for name in after if name not in before)):
        place = f"{pointer}/properties/{_escaped(name)}"
        if name not in after:
            _removed(found, place, name, still=name in still, closed=b.get("additionalProperties") is False)
        elif name not in before:
            # Who may send it need not, and who gets it may leave it alone.
            closed = a.get("additionalProperties") is False
            shift = Shift.WIDENED if closed and found.direction is Direction.SENT else Shift.NOTED
            found.add(place, "properties", shift, f"{name} is new")
        else:
            _compare(found, before[name], after[name], place, depth + 1)
    for name in sorted(still - required):
        found.add(f"{pointer}/properties/{_escaped(name)}", "required", Shift.NARROWED, f"{name} is required now")
    for name in sorted(required - still):
        if name in after or name not in before:
            what = f"{name} is no longer required"
            found.add(f"{pointer}/properties/{_escaped(name)}", "required", Shift.WIDENED, what)
    _compare_additional(found, a, b, pointer, depth)


def _removed(found: _Comparison, place: str, name: str, *, still: bool, closed: bool) -> None:
    if found.direction is Direction.GOT:
        found.add(place, "properties", Shift.WIDENED, f"{name} need not come any more")
    elif closed:
        found.add(place, "properties", Shift.NARROWED, f"{name} is no longer accepted")
    else:
        what = f"{name} is no longer described" + (", and still required" if still else "")
        found.add(place, "properties", Shift.NOTED, what)


def _compare_additional(
    found: _Comparison, a: Mapping[str, Any], b: Mapping[str, Any], pointer: str, depth: int
) -> None:
    before, after = a.get("additionalProperties", True), b.get("additionalProperties", True)
    if before == after:
        return
    place = f"{pointer}/additionalProperties"
    if found.direction is Direction.GOT and isinstance(before, bool) and isinstance(after, bool):
        # Who gets an object leaves alone what it does not know.
        found.add(
            place, "additionalProperties", Shift.NOTED, "further properties may come" if after else "none may come"
        )
        return
    _compare(found, before, after, place, depth + 1)


def _compare_array(found: _Comparison, a: Mapping[str, Any], b: Mapping[str, Any], pointer: str, depth: int) -> None:
    if "items" in a or "items" in b:
        _compare(found, a.get("items"), b.get("items"), f"{pointer}/items", depth + 1)
    before, after = _sequence(a.get("prefixItems")), _sequence(b.get("prefixItems"))
    for index in range(max(len(before), len(after))):
        one = before[index] if index < len(before) else a.get("items")
        other = after[index] if index < len(after) else b.get("items")
        _compare(found, one, other, f"{pointer}/prefixItems/{index}", depth + 1)


def _compare_rest(found: _Comparison, a: Mapping[str, Any], b: Mapping[str, Any], pointer: str) -> None:
    for keyword in _ANNOTATIONS:
        if a.get(keyword) != b.get(keyword):
            found.add(pointer, keyword, Shift.NOTED, f"{_short(a.get(keyword))} became {_short(b.get(keyword))}")
    known = {*_ANNOTATIONS, *_LOWER, *_UPPER, *_STRUCTURE, *_SILENT, "$ref"}
    for keyword in (*a, *(keyword for keyword in b if keyword not in a)):
        if keyword in known or a.get(keyword) == b.get(keyword):
            continue
        if keyword in _SCHEMA_LISTS and keyword in a and keyword in b:
            before, after = (frozenset(map(_text, _sequence(one[keyword]))) for one in (a, b))
            lost, gained = before - after, after - before
            if not _SCHEMA_LISTS[keyword]:
                lost, gained = gained, lost
            if lost or gained:
                found.add(pointer, keyword, _shift(bool(lost), bool(gained)), "the alternatives differ")
        elif keyword in _TOGETHER:
            found.add(pointer, keyword, Shift.CHANGED, f"{_short(a.get(keyword))} became {_short(b.get(keyword))}")
        elif keyword not in b or (keyword == "uniqueItems" and not b[keyword]):
            found.add(pointer, keyword, Shift.WIDENED, f"{keyword} is gone")
        elif keyword not in a or (keyword == "uniqueItems" and b[keyword]):
            found.add(pointer, keyword, Shift.NARROWED, f"{keyword} is new: {_short(b[keyword])}")
        else:
            found.add(pointer, keyword, Shift.CHANGED, f"{_short(a[keyword])} became {_short(b[keyword])}")


@dataclass(frozen=True, slots=True)
class _Resolved:
    schema: Schema
    reference: str = ""


def _resolved(root: Schema, schema: Schema) -> _Resolved:
    """The schema behind local references, with what stands beside them; a reference that leads nowhere stays."""
    reference = ""
    for _ in range(_DEEPEST):
        if not isinstance(schema, Mapping) or not isinstance(schema.get("$ref"), str):
            break
        target = _at(root, schema["$ref"])
        if target is None:
            return _Resolved({**schema, "reference": schema["$ref"]}, reference)
        reference = f"{reference} {schema['$ref']}"
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **beside} if beside and isinstance(target, Mapping) else target
    return _Resolved(schema, reference)


def _at(root: Schema, reference: str) -> Schema:
    if not reference.startswith("#"):
        return None
    found: Any = root
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found if isinstance(found, Mapping | bool) else None


def _has_references(schema: Schema) -> bool:
    return '"$ref"' in _text(schema)


def _as_object(schema: Schema) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {}


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    named = schema.get("type")
    if named is None:
        return _TYPES
    return frozenset([named] if isinstance(named, str) else _strings(named))


def _without(types: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """The types that the others do not take; every integer is a number."""
    taken = others | {"integer"} if "number" in others else others
    return types - taken


def _names(schema: Mapping[str, Any]) -> str:
    return "any type" if schema.get("type") is None else ", ".join(sorted(_types(schema)))


def _values(schema: Mapping[str, Any]) -> frozenset[str] | None:
    if "const" in schema:
        return frozenset([_text(schema["const"])])
    return frozenset(map(_text, _sequence(schema["enum"]))) if "enum" in schema else None


def _listed(values: Iterable[str]) -> str:
    shown = sorted(values)
    return ", ".join(shown[:5])[:200] + (" and more" if len(shown) > 5 else "")


def _shift(lost: bool, gained: bool) -> Shift:
    return Shift.CHANGED if lost and gained else Shift.NARROWED if lost else Shift.WIDENED


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _short(value: Any) -> str:
    text = "nothing" if value is None else _text(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _strings(value: Any) -> set[str]:
    return {one for one in _sequence(value) if isinstance(one, str)}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
