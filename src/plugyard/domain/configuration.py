"""A plugin's configuration: defaults, JSON merge patch (RFC 7396), and secrets that are never read back."""

from typing import Any

MASK = "********"


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


def secret_names(schema: dict[str, Any] | None) -> frozenset[str]:
    """The properties that the schema marks ``writeOnly``."""
    properties = (schema or {}).get("properties", {})
    return frozenset(name for name, spec in properties.items() if isinstance(spec, dict) and spec.get("writeOnly"))


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
    schema: dict[str, Any] | None, configuration: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plain part and the secret part of a configuration."""
    names = secret_names(schema)
    plain = {key: value for key, value in configuration.items() if key not in names}
    return plain, {key: value for key, value in configuration.items() if key in names}


def masked(configuration: dict[str, Any], secrets: dict[str, Any]) -> dict[str, Any]:
    """What a reader sees: a mask in the place of each secret that is set."""
    return {**configuration, **dict.fromkeys(secrets, MASK)}
