"""A plugin's configuration: defaults, JSON merge patch (RFC 7396), and secrets that are never read back."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from plugyard.domain.secrets import MASK, LockedSecrets


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2: objects merge, ``null`` removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


# JSON Schema 2020-12, core, section 10: the keywords that hold schemas, by name, in a list, or alone. Those of the
# first line speak of the same object that their schema speaks of, the others of what lies inside it.
_OF_THE_SAME = ("allOf", "anyOf", "oneOf", "dependentSchemas", "if", "then", "else")
_OF_THE_INSIDE = ("properties", "patternProperties", "additionalProperties", "items", "prefixItems", "contains")
_BY_NAME = ("properties", "patternProperties", "dependentSchemas")


def secret_names(schema: dict[str, Any] | None) -> frozenset[str]:
    """The properties that the schema marks ``writeOnly``, or that hold anything so marked."""
    root = schema or {}
    return frozenset(
        name
        for one in _reached(root, root, _OF_THE_SAME)
        for name, spec in (one.get("properties") or {}).items()
        if any(inner.get("writeOnly") is True for inner in _reached(spec, root, _OF_THE_SAME + _OF_THE_INSIDE))
    )


def _reached(start: Any, root: dict[str, Any], keywords: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The schemas that a schema leads to by these keywords and by references within the document, each once."""
    waiting, seen = [start], set[int]()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        for keyword in keywords:
            below = one.get(keyword)
            if isinstance(below, dict) and keyword in _BY_NAME:
                waiting.extend(below.values())
            else:
                waiting.extend(below if isinstance(below, list) else [below])
        if isinstance(one.get("$ref"), str):
            waiting.append(_pointed_at(root, one["$ref"]))


def _pointed_at(root: dict[str, Any], reference: str) -> Any:
    """What an RFC 6901 pointer in a fragment points at, or ``None``."""
    there: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(there, list) and key.isdecimal() and int(key) < len(there):
            there = there[int(key)]
        else:
            there = there.get(key) if isinstance(there, dict) else None
    return there


def with_defaults(schema: dict[str, Any] | None, configuration: dict[str, Any]) -> dict[str, Any]:
    """The configuration as the plugin sees it: the schema's defaults where nothing was set, also inside objects."""
    completed = dict(configuration)
    for name, spec in ((schema or {}).get("properties") or {}).items():
        if not isinstance(spec, dict):
            continue
        if name not in completed and "default" in spec:
            completed[name] = spec["default"]
        if isinstance(completed.get(name), dict) and isinstance(spec.get("properties"), dict):
            completed[name] = with_defaults(spec, completed[name])
    return completed


def split_secrets(
    schema: dict[str, Any] | None, configuration: dict[str, Any], held: Iterable[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plain part and the secret part of a configuration. What was ``held`` as a secret stays one: a version whose
    schema no longer marks it must not make it readable."""
    names = secret_names(schema) | frozenset(held)
    plain = {key: value for key, value in configuration.items() if key not in names}
    return plain, {key: value for key, value in configuration.items() if key in names}


def masked(configuration: dict[str, Any], secrets: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader sees: a mask in the place of each secret that is set."""
    if isinstance(secrets, LockedSecrets):
        return dict(configuration)  # Nobody can say any more which are set.
    return {**configuration, **dict.fromkeys(secrets, MASK)}
