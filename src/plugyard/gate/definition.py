"""Holds ``sdk/manifest.schema.json``, the only definition of a manifest, and checks a document against it.

``manifest`` calls ``check``. Every violation becomes a finding in words that need no knowledge of JSON Schema.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema_rs

from plugyard.gate.findings import ENOUGH, Findings
from plugyard.gate.strictjson import Document, child

_NAMES = {"object": "an object", "array": "a list", "string": "text", "integer": "an integer", "number": "a number",
          "boolean": "true or false", "null": "null"}  # fmt: skip
_BOUNDS = {
    "minimum": "must be at least {limit}",
    "maximum": "must be at most {limit}",
    "minLength": "must have at least {limit} characters",
    "maxLength": "must have at most {limit} characters",
    "minItems": "must have at least {limit} items",
    "maxItems": "must have at most {limit} items",
    "minProperties": "must have at least {limit} fields",
    "maxProperties": "must have at most {limit} fields",
}


def schema_path() -> Path:
    """The schema's file: inside of the installed package, or in the repository that the code runs from."""
    package = Path(__file__).resolve().parents[1]
    bundled = package / "_bundled" / "sdk" / "manifest.schema.json"
    return bundled if bundled.exists() else package.parents[1] / "sdk" / "manifest.schema.json"


@cache
def schema() -> dict[str, Any]:
    """The manifest's schema as it stands in its file."""
    loaded: dict[str, Any] = json.loads(schema_path().read_text("utf-8"))
    return loaded


@cache
def validator() -> jsonschema_rs.Draft202012Validator:
    """The compiled schema; it fetches nothing, and its patterns take linear time."""
    return jsonschema_rs.Draft202012Validator(schema(), offline=True, pattern_options=jsonschema_rs.RegexOptions())


def pointer_of(path: Sequence[str | int]) -> str:
    """The RFC 6901 pointer of a path of keys and indexes."""
    pointer = ""
    for part in path:
        pointer = child(pointer, part)
    return pointer


def check(document: Document, findings: Findings) -> None:
    """Report every violation of the schema, and every 1.0 where an integer is asked."""
    for error in islice(validator().iter_errors(_trimmed(document.value, schema())), ENOUGH):
        _report(error, document, findings)
    for path, number in islice(_whole_floats(document.value, ()), ENOUGH):
        node = _node_at(path)
        if node is not None and node.get("type") == "integer":
            pointer = pointer_of(path)
            what = f"is {number}, must be an integer written without a fraction or an exponent"
            findings.add("manifest.type", document.where(pointer), what, line=document.line(pointer))


def _trimmed(value: Any, node: Any) -> Any:
    """The value without what the schema does not look at, and without what is beyond any cap.

    The validator keeps a copy of the faulty object in every fault, so that many faults in one object would cost the
    square of their number.
    """
    node = _followed(node)
    node = _followed(node.get("else", node))
    if isinstance(value, list):
        below = node.get("items")
        return [] if below is None else [_trimmed(item, below) for item in value[:ENOUGH]]
    if not isinstance(value, dict):
        return value
    properties, others = node.get("properties", {}), node.get("additionalProperties")
    result = {key: _trimmed(value[key], below) for key, below in properties.items() if key in value}
    if others is not None:
        unnamed = islice((key for key in value if key not in properties), ENOUGH)
        result |= {key: _trimmed(value[key], others) for key in unnamed}
    return result


def _report(error: jsonschema_rs.ValidationError, document: Document, findings: Findings) -> None:
    path = list(error.instance_path)
    pointer, kind, details = pointer_of(path), error.kind.name, error.kind.as_dict()
    keyword_path = list(error.schema_path)
    node = _resolve(keyword_path[:-1])

    def add(rule: str, what: str, at: str = pointer) -> None:
        findings.add(rule, document.where(at), what, line=document.line(at))

    if kind == "required":
        add("manifest.required", f"the field {details['property']!r} is missing")
    elif kind == "additionalProperties":
        for name in details["unexpected"][:ENOUGH]:
            add("manifest.unknown-field", _unknown(name, node), child(pointer, name))
    elif kind == "type":
        wanted = " or ".join(_NAMES[name] for name in details["types"])
        add("manifest.type", f"is {described(error.instance)}, must be {wanted}")
    elif kind == "enum":
        options = ", ".join(map(str, details["options"]))
        close = _close(error.instance, [str(option) for option in details["options"]])
        add("manifest.value", f"is {described(error.instance)}, must be one of {options}{close}")
    elif kind == "pattern":
        add("manifest.format", f"is {described(error.instance)}, must be {_shape(node)}")
    elif kind == "propertyNames":
        name = str(details["error"].instance)
        shape = _shape(_followed((_node_at(path) or {}).get("propertyNames")))
        add("manifest.format", f"the key {name[:100]!r} must be {shape}", child(pointer, name))
    elif kind in _BOUNDS:
        add("manifest.value", f"is {described(error.instance)}, {_BOUNDS[kind].format(limit=details['limit'])}")
    else:
        add("manifest.value", "holds the same item twice" if kind == "uniqueItems" else error.message)


def described(value: Any) -> str:
    """A value in a few words: its type, and what it is where that is short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 60 else f"a text of {len(value)} characters"
    if isinstance(value, list):
        return f"a list of {len(value)} items" if len(value) < ENOUGH else f"a list of {ENOUGH} items or more"
    return f"the number {value}" if isinstance(value, int | float) else "an object"


def _unknown(name: str, node: dict[str, Any]) -> str:
    known = list(node.get("properties", {}))
    what = f"the field {name!r} is not known here"
    if close := _close(name, known):
        return what + close
    for place, properties in _objects(schema(), ""):
        if name in properties:
            return f"{what}; it belongs into {place or 'the top level'}"
    return f"{what}; known are {', '.join(known)}" if known else what


def _objects(node: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of the schema that a path of plain names reaches."""
    properties = node.get("properties", {}) if isinstance(node, dict) else {}
    if place:
        yield place, properties
    for name, below in properties.items():
        yield from _objects(below, f"{place}.{name}" if place else name)


def _close(name: Any, known: list[str]) -> str:
    match = difflib.get_close_matches(name[:64], known, 1) if isinstance(name, str) else []
    if not match and isinstance(name, str):
        match = [one for one in known if one.lower() == name.lower().replace("_", "").replace("-", "")]
    return f"; did you mean {match[0]!r}?" if match else ""


def _shape(node: dict[str, Any]) -> str:
    return str(node.get("patternErrorMessage", f"text that matches {node.get('pattern')}"))


def _followed(node: Any) -> dict[str, Any]:
    while isinstance(node, dict) and "$ref" in node:
        node = schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return node if isinstance(node, dict) else {}


def _resolve(path: Sequence[str | int]) -> dict[str, Any]:
    """The part of the schema that a keyword path leads to, through references."""
    node: Any = schema()
    for part in path:
        if part == "$ref":
            node = _followed(node)
        elif isinstance(node, dict):
            node = node.get(str(part), {})
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
    return _followed(node)


def _whole_floats(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], float]]:
    if isinstance(value, float) and value.is_integer():
        yield path, value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _whole_floats(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _whole_floats(member, (*path, index))


def _node_at(path: Sequence[str | int]) -> dict[str, Any] | None:
    node: Any = schema()
    for part in path:
        node = _followed(node)
        node = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
        if not isinstance(node, dict):
            return None
    return _followed(node)
