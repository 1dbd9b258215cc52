"""Checks the JSON Schemas that an author writes into a manifest: the configuration, and functions' input and output.

``semantics`` calls it. What passes here ``application.schemas`` can compile and apply to hostile input: nothing is
fetched, patterns take linear time, and references cannot make a small schema cost an endless check.
"""

import json
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import jsonschema_rs

from plugyard.application import schemas
from plugyard.gate import schemacost
from plugyard.gate.definition import pointer_of
from plugyard.gate.findings import ENOUGH, Findings
from plugyard.gate.strictjson import Document, child

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_EXAMPLES = 5
MAX_EXAMPLE_BYTES = 32 * 1024
_DATA_KEYWORDS = frozenset({"const", "enum", "default", "examples"})
_REFERENCES = frozenset({"$ref", "$dynamicRef"})


@cache
def _dialect() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"$ref": DIALECT}, offline=True)


def check(schema: Any, pointer: str, document: Document, findings: Findings, budget: schemacost.Budget) -> bool:
    """Report what is wrong with one schema; whether nothing is. ``pointer`` is its place in the manifest.

    ``budget`` is shared by all schemas of the manifest and shrinks.
    """
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict):
        return False
    found: list[tuple[str, str, str]] = []
    if schema.get("$schema", DIALECT) not in (DIALECT, DIALECT + "#"):
        found.append(("manifest.schema-invalid", f"{pointer}/$schema", f"names another dialect than {DIALECT}"))
    else:
        for error in islice(_dialect().iter_errors(schema), ENOUGH):
            place = pointer + pointer_of(list(error.instance_path))
            found.append(("manifest.schema-invalid", place, error.message))
    found += [
        ("manifest.schema-reference", place, f"refers to {target!r}, outside of this schema")
        for place, target in _references(schema, pointer)
        if not target.startswith("#")
    ]
    found += [
        ("manifest.schema-reference", place, "gives a part of the schema an address of its own")
        for place in _inner_addresses(schema, pointer)
    ]
    if not found:
        found += [("manifest.schema-cost", pointer, what) for what in schemacost.problems(schema, budget)]
    if not found:
        found += _compile_problems(schema, pointer)
    for rule, place, what in found:
        findings.add(rule, document.where(place), what, line=document.line(place))
    return not found


def _compile_problems(schema: dict[str, Any], pointer: str) -> list[tuple[str, str, str]]:
    try:
        schemas.compiled(schema)
    except ValueError as error:
        cause, rule, place = error.__cause__, "manifest.schema-invalid", pointer
        if isinstance(cause, jsonschema_rs.ReferencingError):
            rule = "manifest.schema-reference"
        elif isinstance(cause, jsonschema_rs.ValidationError):
            place += pointer_of(list(cause.instance_path))
            rule = "manifest.schema-reference" if cause.kind.name == "$ref" else rule
        return [(rule, place, str(error))]
    return []


def _references(node: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _REFERENCES and isinstance(value, str):
                yield child(pointer, key), value
            elif key not in _DATA_KEYWORDS:
                yield from _references(value, child(pointer, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _references(value, child(pointer, index))


def _inner_addresses(node: Any, pointer: str, *, root: bool = True) -> Iterator[str]:
    """Where ``$id`` moves the base of references, so that they would not lead where ``schemacost`` follows them."""
    if isinstance(node, dict):
        if not root and isinstance(node.get("$id"), str):
            yield child(pointer, "$id")
        for key, value in node.items():
            yield from _inner_addresses(value, child(pointer, key), root=False)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _inner_addresses(value, child(pointer, index), root=False)


def check_defaults(schema: dict[str, Any], pointer: str, document: Document, findings: Findings) -> None:
    """Report each default of a configuration that its own schema refuses. The schema itself must have passed."""
    for error in islice(schemas.compiled(schema).iter_errors(_defaults(schema)), ENOUGH):
        # A field without a default is for the tenant to fill in; its absence is no fault of the defaults.
        if error.kind.name == "required":
            continue
        path = [part for part in error.instance_path if isinstance(part, str)]
        place = pointer + "".join(f"/properties{child('', part)}" for part in path)
        what = f"the default does not satisfy the schema: {error.message}"
        findings.add("manifest.default", document.where(place), what, line=document.line(place))


def check_examples(
    schema: dict[str, Any] | bool, examples: list[Any], pointer: str, document: Document, findings: Findings
) -> None:
    """Report each example of a function that its input schema refuses, or that is too large.

    The schema itself must have passed; ``pointer`` is the function's place. How many there may be is the manifest's
    schema's to say.
    """
    for index, example in enumerate(examples[:MAX_EXAMPLES]):
        place = child(child(pointer, "examples"), index)
        size = len(json.dumps(example, ensure_ascii=False, separators=(",", ":")).encode())
        if size > MAX_EXAMPLE_BYTES:
            what = f"the example has {size} bytes as JSON; at most {MAX_EXAMPLE_BYTES} are allowed"
        else:
            errors = schemas.compiled(schema).iter_errors(example)
            error = next(iter(errors), None)
            if error is None:
                continue
            within = pointer_of(list(error.instance_path))
            what = f"the example does not satisfy the input schema{within and f' at {within}'}: {error.message}"
        findings.add("manifest.example", document.where(place), what, line=document.line(place))


def _defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """The configuration that the defaults alone make."""
    result: dict[str, Any] = {}
    properties = schema.get("properties", {})
    for name, below in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(below, dict):
            continue
        if "default" in below:
            result[name] = below["default"]
        elif isinstance(below.get("properties"), dict) and (nested := _defaults(below)):
            result[name] = nested
    return result
