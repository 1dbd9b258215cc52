"""What a plugin asks for, read from the arguments of its call, which nobody has checked before."""

import base64
import binascii
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from plugyard.sandbox.services.base import ServiceFault
from plugyard.sandbox.services.egress import fields
from plugyard.sandbox.services.egress.target import MAX_URL_CHARACTERS, Target, TargetError, parse

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Redirects = Literal["follow", "manual", "error"]
Scalar = str | int | float | bool


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    headers: dict[str, str | int | float] | None = None
    query: dict[str, Scalar | list[Scalar] | None] | None = None
    body: str | None = None
    body_base64: str | None = None
    json: Any = msgspec.UNSET
    timeout_ms: float | None = None
    redirect: Redirects = "follow"


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    method: str
    url: str
    options: _Options | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request, checked. `timeout_s` is None where the plugin named none."""

    method: str
    target: Target
    headers: dict[str, str]
    body: bytes | None
    timeout_s: float | None
    redirects: Redirects

    def redirected(self, status: int, target: Target) -> "Request":
        """The request that follows a redirect: RFC 9110, 15.4, and no credential to another origin."""
        method, body, headers = self.method, self.body, self.headers
        if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
            method, body, headers = "GET", None, fields.without_content(headers)
        if target.origin != self.target.origin:
            headers = fields.crossing(headers)
        return replace(self, method=method, target=target, headers=headers, body=body)


def read(arguments: dict[str, Any], cap: int) -> Request:
    """Read the arguments of a call; `cap` bounds the body in bytes. Raises ServiceFault."""
    try:
        asked = msgspec.convert(arguments, _Arguments)
    except msgspec.ValidationError as error:
        raise ServiceFault("invalid_argument", f"http.request: {error}") from error
    options = asked.options or _Options()
    method = asked.method.upper()
    if method not in METHODS:
        raise ServiceFault("invalid_argument", f"the method {asked.method[:20]!r} is none of {', '.join(METHODS)}")
    if options.timeout_ms is not None and not 0 < options.timeout_ms < 1e9:
        raise ServiceFault("invalid_argument", "timeoutMs must be a positive number of milliseconds")
    headers = fields.outgoing({name: str(value) for name, value in (options.headers or {}).items()})
    body, kind = _body(options, cap)
    if body is not None and method in ("GET", "HEAD"):
        raise ServiceFault("invalid_argument", f"a {method} has no body")
    if kind:
        headers.setdefault("content-type", kind)
    return Request(
        method=method,
        target=_target(asked.url, options),
        headers=headers,
        body=body,
        timeout_s=options.timeout_ms and options.timeout_ms / 1000,
        redirects=options.redirect,
    )


def _target(url: str, options: _Options) -> Target:
    pairs = [
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, given in (options.query or {}).items()
        for value in (given if isinstance(given, list) else [given])
        if value is not None
    ]
    try:
        target = parse(url).with_query(urlencode(pairs))
    except (TargetError, UnicodeEncodeError) as error:
        raise ServiceFault("invalid_argument", str(error)) from error
    if len(target.url) > 3 * MAX_URL_CHARACTERS:
        raise ServiceFault("invalid_argument", "the URL with its query is too long")
    return target


def _body(options: _Options, cap: int) -> tuple[bytes | None, str]:
    """The body and the content type that it has where the plugin names none."""
    given = [options.body is not None, options.body_base64 is not None, options.json is not msgspec.UNSET]
    if sum(given) > 1:
        raise ServiceFault("invalid_argument", "give either body or json, not both")
    body, kind = None, ""
    try:
        if options.body is not None:
            body, kind = options.body.encode(), "text/plain;charset=UTF-8"
        elif options.body_base64 is not None:
            body, kind = base64.b64decode(options.body_base64, validate=True), "application/octet-stream"
        elif options.json is not msgspec.UNSET:
            body, kind = msgspec.json.encode(options.json), "application/json"
    except (UnicodeEncodeError, binascii.Error, RecursionError) as error:
        raise ServiceFault("invalid_argument", "the body cannot be written as bytes") from error
    if body is not None and len(body) > cap:
        raise ServiceFault("request_too_large", f"the body has {len(body)} bytes; at most {cap} are allowed")
    return body, kind
