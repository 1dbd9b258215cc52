"""Checks values against the JSON Schemas that authors wrote, and says what does not fit, by pointer.

The schemas are hostile input: no reference leaves the document, and patterns run on an engine with linear time.
"""

from collections import OrderedDict
from itertools import islice
from typing import Any

import jsonschema_rs

from plugyard.domain.configuration import secret_names, with_defaults
from plugyard.domain.errors import FieldError
from plugyard.domain.plugin import PluginVersion

MAX_ERRORS = 50
MAX_CACHED = 1_000
# Values with at most so many members, at all levels, and characters are told of with all of their errors.
SMALL = 4_000
_compiled: OrderedDict[tuple[str, ...], jsonschema_rs.Draft202012Validator] = OrderedDict()


def compiled(schema: dict[str, Any] | bool, *, mask: str | None = None) -> jsonschema_rs.Draft202012Validator:
    """A validator for the schema; raises ``ValueError`` with what is wrong with it."""
    try:
        return jsonschema_rs.Draft202012Validator(
            schema,
            validate_formats=True,
            offline=True,
            mask=mask,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20),
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(str(error).splitlines()[0]) from error


def violations(
    name: tuple[str, ...], schema: dict[str, Any] | bool, value: Any, *, prefix: str = "", mask: str | None = None
) -> tuple[FieldError, ...]:
    """What of ``value`` does not fit ``schema``. ``name`` names the schema, so that it is compiled once.

    Pointers are RFC 6901, behind ``prefix``. With a ``mask``, messages have it in the place of values.
    """
    validator = _compiled.get(name)
    if validator is None:
        validator = _compiled[name] = compiled(schema, mask=mask)
        if len(_compiled) > MAX_CACHED:
            _compiled.popitem(last=False)
    else:
        _compiled.move_to_end(name)
    if validator.is_valid(value):
        return ()
    if not larger_than(SMALL, value):
        errors = islice(validator.iter_errors(value), MAX_ERRORS)
        return tuple(FieldError(prefix + pointer(error.instance_path), error.message[:500]) for error in errors)
    # The library gathers all errors before it gives the first, each with a copy of what is wrong; a large value with
    # thousands of them would fill the memory, so of such a value only the first error is told.
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return (FieldError(prefix + pointer(error.instance_path), error.message[:500]),)
    return ()


def configuration_violations(version: PluginVersion, configuration: dict[str, Any]) -> tuple[FieldError, ...]:
    """What of a configuration, with its defaults, does not fit the version's schema; no message quotes a secret.

    An error inside a secret names the secret alone, for the names below it may be as private.
    """
    schema = version.manifest.configuration
    if schema is None:
        return ()
    secret = secret_names(schema)
    mask = "the value" if secret else None
    found = violations((version.digest, "configuration"), schema, with_defaults(schema, configuration), mask=mask)
    return tuple(_without_secret(error, secret) for error in found)


def _without_secret(error: FieldError, secret: frozenset[str]) -> FieldError:
    top = error.pointer.split("/")[1].replace("~1", "/").replace("~0", "~") if error.pointer else ""
    if top not in secret:
        return error
    return FieldError(pointer([top]), "does not fit the schema of this secret")


def pointer(path: list[str | int]) -> str:
    """A path as an RFC 6901 pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def larger_than(limit: int, value: Any) -> bool:
    """Whether the value has more than ``limit`` members and characters, all levels together. Stops counting there."""
    waiting = [value]
    while waiting and limit >= 0:
        one = waiting.pop()
        if isinstance(one, str):
            limit -= len(one)
        elif isinstance(one, dict):
            limit -= len(one) + sum(len(key) for key in one)
            waiting += one.values()
        elif isinstance(one, list):
            limit -= len(one)
            waiting += one
    return limit < 0


def deeper_than(limit: int, raw: bytes, value: Any) -> bool:
    """Whether decoded JSON nests deeper than ``limit``. Counting brackets settles nearly every case at once."""
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return False
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
