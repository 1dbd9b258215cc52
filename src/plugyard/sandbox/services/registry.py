"""Which service a plugin's call reaches, and whether it may. Called by the broker for every call.

The grant comes from the service's own record of the execution, never from what the environment says.
"""

import json
from dataclasses import dataclass

from plugyard.domain.execution import Violation

# What a call names, and the permission word that it needs.
PERMISSIONS = {
    "database": "database",
    "cache": "cache",
    "http": "network",
    "events": "events",
    "files": "filesystem",
}

METHODS = {
    "database": frozenset({"query", "execute", "transaction"}),
    "cache": frozenset({"get", "set", "delete", "increment"}),
    "http": frozenset({"request"}),
    "events": frozenset({"publish", "subscribe"}),
    "files": frozenset({"read", "write", "list", "delete"}),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a service call: JSON of its value or of its error, and what it violated, if anything."""

    ok: bool
    value: bytes
    violation: Violation | None = None


def answer(service: str, method: str, granted: frozenset[str]) -> Reply:
    """Judge one call. `granted` holds permission words."""
    if service not in PERMISSIONS or method not in METHODS[service]:
        return _refusal("unknown_service", f"there is no service method {service[:40]}.{method[:40]}")
    permission = PERMISSIONS[service]
    if permission not in granted:
        return _refusal(
            "permission_denied",
            f'{service}.{method} needs the permission "{permission}", which this plugin was not granted',
            Violation("permission_denied", f"{service}.{method} without the permission {permission}"),
        )
    return _refusal("service_unavailable", f"this server does not offer the service {service} yet")


def _refusal(code: str, message: str, violation: Violation | None = None) -> Reply:
    return Reply(False, json.dumps({"code": code, "message": message}).encode(), violation)
