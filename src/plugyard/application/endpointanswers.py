"""What a handler of an endpoint gave back, as an HTTP response; whatever is wrong with it is said by pointer.

A plugin's answer leaves under the platform's own name, so headers that speak for the whole origin or for the connection
are not a plugin's to set.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from plugyard.application.schemas import pointer
from plugyard.domain.endpoints import AnswerInvalid
from plugyard.domain.errors import FieldError

MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
_MEMBERS = ("status", "headers", "body", "json", "bodyBase64")
_BODIES = ("body", "json", "bodyBase64")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_VALUE = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?", re.ASCII)
# Of one connection (RFC 9110, 7.6.1), or written by the server itself.
_OF_THE_CONNECTION = frozenset(
    [
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ]
)
# What a browser, or a client of this service, keeps for the whole origin.
_OF_THE_ORIGIN = frozenset(
    [
        "accept-ch",
        "alt-svc",
        "clear-site-data",
        "content-security-policy",
        "content-security-policy-report-only",
        "cross-origin-embedder-policy",
        "cross-origin-opener-policy",
        "nel",
        "origin-agent-cluster",
        "public-key-pins",
        "report-to",
        "reporting-endpoints",
        "service-worker-allowed",
        "set-cookie",
        "set-cookie2",
        "sourcemap",
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
    ]
)
_OF_THE_SERVICE = ("plugyard-", "ratelimit", "x-accel-")
_BARE = (204, 205, 304)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """A response: names of headers in lower case, in the order given, repeated ones one by one."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The values of a header, joined as RFC 9110 (5.3) does; ``None`` without one."""
        values = [value for one, value in self.headers if one == name]
        return ", ".join(values) if values else None


def answer_of(output: bytes | None) -> EndpointAnswer:
    """The response that an execution's output stands for; raises ``AnswerInvalid`` with every fault.

    An object whose ``status`` is an integer is a response. Null is 204; anything else is sent as JSON with 200.
    """
    try:
        value = None if output is None else msgspec.json.decode(output)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerInvalid("The plugin's answer cannot be read.", [FieldError("", str(error)[:200])]) from error
    if value is None:
        return EndpointAnswer(204, (), b"")
    if not isinstance(value, dict) or type(value.get("status")) is not int:
        return EndpointAnswer(200, (("content-type", "application/json"),), output or b"")
    faults = [
        FieldError(pointer([name[:100]]), f"no member of a response; there are: {', '.join(_MEMBERS)}")
        for name in value
        if name not in _MEMBERS
    ]
    status = value["status"]
    if not 200 <= status <= 599:
        faults.append(FieldError("/status", "must be 200 to 599"))
    body, kind = _body(value, faults)
    headers = _headers(value.get("headers"), faults)
    if status in _BARE and body:
        faults.append(FieldError("/status", f"an answer with {status} has no body"))
    if faults:
        raise AnswerInvalid("The plugin's answer is no response that can be sent.", faults[:50])
    if kind and body and not any(name == "content-type" for name, _ in headers):
        headers = [("content-type", kind), *headers]
    return EndpointAnswer(status, tuple(headers), body)


def _body(value: dict[str, Any], faults: list[FieldError]) -> tuple[bytes, str]:
    """The body's bytes and its type where the plugin names none."""
    given = [name for name in _BODIES if value.get(name) is not None]
    if len(given) > 1:
        faults.append(FieldError(pointer([given[1]]), f"give one of {', '.join(_BODIES)}"))
    if not given:
        return b"", ""
    name, content = given[0], value[given[0]]
    if name == "bodyBase64":
        try:
            return base64.b64decode(content, validate=True), "application/octet-stream"
        except (TypeError, ValueError, binascii.Error):
            faults.append(FieldError("/bodyBase64", "must be Base64 with its padding"))
            return b"", ""
    if name == "body" and isinstance(content, str):
        return content.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    return _encode(content), "application/json"


def _headers(given: Any, faults: list[FieldError]) -> list[tuple[str, str]]:
    if given is None:
        return []
    if not isinstance(given, dict):
        faults.append(FieldError("/headers", "must be an object of names and values"))
        return []
    found: list[tuple[str, str]] = []
    for name, value in given.items():
        where, lower = pointer(["headers", name[:100]]), name.lower()
        if not _NAME.fullmatch(name):
            faults.append(FieldError(where, "is no name of a header"))
        elif (why := _kept_back(lower)) is not None:
            faults.append(FieldError(where, why))
        else:
            for one in value if isinstance(value, list) else [value]:
                if not isinstance(one, str) or not _VALUE.fullmatch(one):
                    faults.append(FieldError(where, "must be text of visible ASCII characters, blanks inside"))
                    break
                found.append((lower, one))
    size = sum(len(name) + len(value) + 4 for name, value in found)
    if len(found) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        faults.append(FieldError("/headers", f"at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes altogether"))
    if sum(name == "content-type" for name, _ in found) > 1:
        faults.append(FieldError("/headers/content-type", "given more than once"))
    return found


def _kept_back(name: str) -> str | None:
    """Why a plugin may not set that header, where it may not."""
    if name in _OF_THE_CONNECTION:
        return "is of the connection, which the service keeps"
    if name in _OF_THE_ORIGIN:
        return "speaks for the whole address of the service"
    own = name in ("age", "x-request-id") or name.startswith(_OF_THE_SERVICE)
    return "is the service's own" if own else None
