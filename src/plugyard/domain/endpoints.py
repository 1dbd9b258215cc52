"""A plugin's own HTTP endpoints: which of them a request means.

``application/endpoints.py`` asks for every request. Paths are compared part by part, as they came: a part is decoded
after the path was taken apart, so that an encoded slash stays within its part (RFC 3986, 2.2).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from plugyard.domain.errors import FieldError, InvalidInput, NotFound, PlugyardError
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Endpoint

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization", "plugyard-tenant", "plugyard-signature"})
"""Headers of a request that no plugin gets to see."""
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_SHOWN = 20


class EndpointNotFound(NotFound):
    """The plugin has no endpoint at this path."""

    code = "endpoint_not_found"


class MethodNotTaken(PlugyardError):
    """The endpoint does not take this method."""

    code = "method_not_allowed"

    def __init__(self, allow: str) -> None:
        super().__init__(f"The plugin's endpoint does not take this method. It takes: {allow}.")
        self.allow = allow


class PathUnreadable(InvalidInput):
    """The path is no well-formed UTF-8 behind its percent signs."""

    code = "malformed_request"


class EndpointFailed(PlugyardError):
    """The plugin did not answer."""

    code = "endpoint_failed"

    def __init__(self, message: str, execution_id: str, status: ExecutionStatus) -> None:
        super().__init__(message)
        self.execution_id, self.status = execution_id, status


class EndpointTimedOut(EndpointFailed):
    """The plugin did not answer within its deadline."""

    code = "endpoint_timed_out"


class AnswerInvalid(InvalidInput):
    """What the plugin answered is no HTTP response."""

    code = "endpoint_answer_invalid"
    execution_id = ""


@dataclass(frozen=True, slots=True)
class Match:
    """The endpoint that a request means, and the values of its path's parameters."""

    endpoint: Endpoint
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an OPTIONS request asks for, where no endpoint of the plugin answers it (RFC 9110, 9.3.7)."""

    allow: str


def find(endpoints: Sequence[Endpoint], method: str, path: str) -> Match | Allowed:
    """The endpoint of that method whose path fits, the most specific first: plain parts come before parameters, from
    the left. GET answers HEAD where no endpoint of its own does.

    Raises ``EndpointNotFound`` where no path fits, ``MethodNotTaken`` where none that fits takes the method,
    ``PathUnreadable``.
    """
    parts = _parts(path)
    fitting = [(one, params) for one in endpoints if (params := _params(one.path, parts)) is not None]
    if not fitting:
        listed = ", ".join(f"{one.method} {one.path}" for one in endpoints[:_SHOWN]) or "none"
        raise EndpointNotFound(f"The plugin has no endpoint at this path. It has: {listed}.")
    wanted = ("HEAD", "GET") if method == "HEAD" else (method,)
    taken = [(one, params) for one, params in fitting if one.method in wanted]
    if taken:
        return Match(*min(taken, key=lambda each: (_generality(each[0].path), wanted.index(each[0].method))))
    allow = _allow({one.method for one, _ in fitting})
    if method == "OPTIONS":
        return Allowed(allow)
    raise MethodNotTaken(allow)


def _allow(methods: set[str]) -> str:
    more = {"OPTIONS", *(("HEAD",) if "GET" in methods else ())}
    return ", ".join(sorted(methods | more))


def _generality(template: str) -> tuple[bool, ...]:
    return tuple(part.startswith("{") for part in template[1:].split("/"))


def _params(template: str, parts: Sequence[str]) -> dict[str, str] | None:
    """The parameters' values where the parts fit the template; no parameter is empty."""
    wanted = template[1:].split("/")
    if len(wanted) != len(parts):
        return None
    params: dict[str, str] = {}
    for want, part in zip(wanted, parts, strict=True):
        if want.startswith("{"):
            if not part:
                return None
            params[want[1:-1]] = part
        elif want != part:
            return None
    return params


def _parts(path: str) -> list[str]:
    if _ESCAPE.search(path):
        raise PathUnreadable(errors=[FieldError("path", "a percent sign stands before two hexadecimal digits")])
    try:
        return [unquote_to_bytes(part).decode() for part in path.removeprefix("/").split("/")]
    except UnicodeDecodeError as error:
        raise PathUnreadable(errors=[FieldError("path", "is not UTF-8")]) from error
