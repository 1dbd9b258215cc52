"""The header fields of a request and of an answer: which a plugin may set, which cross to another host, what it reads.

Source: RFC 9110 (5.5 values, 5.6.2 tokens, 7.6.1 connection), RFC 9112 (6 framing).
"""

import re
from collections.abc import Iterable, Mapping

from plugyard.sandbox.services.base import ServiceFault

MAX_FIELDS = 64
MAX_BYTES = 16 * 1024

# They belong to the connection or to the framing, which are the platform's; or name a proxy, and there is none.
_OURS = frozenset(
    {
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"),
        *("content-length", "expect", "host"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection", "via"),
    }
)
# Replaced rather than refused: the platform decodes what comes back, so it says itself what it can decode.
_REPLACED = frozenset({"accept-encoding"})
# All that goes along when a redirect leads to another origin. A list of what is kept, because nobody can list the names
# under which services take their keys.
_HARMLESS = frozenset({"accept", "accept-language", "content-type", "content-language", "user-agent"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}\Z")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def outgoing(given: Mapping[str, str]) -> dict[str, str]:
    """The plugin's fields in lower case. Raises ServiceFault for one that it may not set."""
    if len(given) > MAX_FIELDS:
        raise ServiceFault("invalid_argument", f"{len(given)} headers; at most {MAX_FIELDS} are allowed")
    fields: dict[str, str] = {}
    for name, value in given.items():
        if not _TOKEN.match(name):
            raise ServiceFault("invalid_argument", f"{name[:100]!r} is no name of a header")
        lower = name.lower()
        if lower in _OURS:
            raise ServiceFault("invalid_argument", f"the platform sets the header {lower} itself; leave it out")
        if lower in fields:
            raise ServiceFault("invalid_argument", f"the header {lower} is given twice")
        if _BAD_VALUE.search(value):
            raise ServiceFault("invalid_argument", f"the header {lower} holds a control character")
        if lower not in _REPLACED:
            fields[lower] = value.strip(" \t")
    size = sum(len(name) + len(value.encode()) for name, value in fields.items())
    if size > MAX_BYTES:
        raise ServiceFault("invalid_argument", f"the headers have {size} bytes; at most {MAX_BYTES} are allowed")
    return fields


def crossing(fields: Mapping[str, str]) -> dict[str, str]:
    """What of a request's fields may go to another origin: nothing that could be a credential."""
    return {name: value for name, value in fields.items() if name in _HARMLESS}


def without_content(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of a request whose body is left out."""
    return {name: value for name, value in fields.items() if not name.startswith("content-")}


def incoming(pairs: Iterable[tuple[str, str]], cap: int) -> dict[str, str]:
    """An answer's fields by name in lower case, repeated ones joined by commas. Raises ServiceFault above `cap` bytes.

    The body is handed on decoded and complete, so what describes its transport is left out.
    """
    fields: dict[str, str] = {}
    size = 0
    for name, value in pairs:
        size += len(name) + len(value)
        if size > cap:
            raise ServiceFault("response_too_large", f"the answer's headers have more than {cap} bytes")
        lower = name.lower()
        if lower in ("content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"):
            continue
        clean = value.encode("utf-8", "replace").decode()
        fields[lower] = f"{fields[lower]}, {clean}" if lower in fields else clean
    return fields
