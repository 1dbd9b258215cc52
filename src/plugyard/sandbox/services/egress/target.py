"""Reads the URL of a request, once: what is judged is what is sent.

Most ways past an allow-list are two readers who disagree about one URL. So there is one reader here, stricter than the
WHATWG's: what it takes it writes again in one form, which the fence judges and which goes out unchanged, and what could
be read in two ways it refuses. Called by `http` for the plugin's URL and for every redirect.
Sources: RFC 3986 (syntax, 5.2.4 dot segments), RFC 9110 (4.2 http and https), UTS 46 (names).
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

import idna

from plugyard.domain.covering import DEFAULT_PORTS, PATH_BYTES, settled

MAX_URL_CHARACTERS = 8_192

_URL = re.compile(r"(?s)(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?\Z", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?s)(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
# What inet_aton(3) and the WHATWG read as a number, and so as an IPv4 address, when it stands last.
_NUMERIC = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]|[^\S ]")
_QUERY_BYTES = PATH_BYTES | frozenset(b"?")
_STILL_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")


class TargetError(ValueError):
    """The URL cannot be used; the message says why, for the author."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL as it will be asked for. `path` and `query` are normalised ASCII; `query` has its question mark."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    is_address: bool = False

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials belong to (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """The one way to write it."""
        port = "" if DEFAULT_PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}{self.query}"

    def with_query(self, more: str) -> "Target":
        """With an encoded query added behind the one that is there."""
        if not more:
            return self
        joined = f"{self.query}&{more}" if len(self.query) > 1 else f"?{more}"
        return replace(self, query=_encoded(joined, _QUERY_BYTES, "query"))


def parse(url: str) -> Target:
    """Read an absolute http or https URL. Raises TargetError."""
    _check_characters(url)
    match = _URL.match(url)
    if match is None:
        raise TargetError("the URL must begin with http:// or https:// and a host")
    scheme, authority, path, query = match[1].lower(), match[2], match[3], match[4] or ""
    host, port, is_address = _authority(authority, scheme)
    return Target(scheme, host, port, normal_path(path), _encoded(query, _QUERY_BYTES, "query"), is_address)


def follow(base: Target, location: str) -> Target:
    """Where a Location field leads from `base` (RFC 9110, 10.2.2; RFC 3986, 5.2). Raises TargetError."""
    _check_characters(location)
    if _SCHEME.match(location):
        return parse(location)
    if location.startswith("//"):
        return parse(f"{base.scheme}:{location}")
    rest = location.partition("#")[0]
    path, mark, query = rest.partition("?")
    encoded = _encoded(mark + query, _QUERY_BYTES, "query")
    if not path:
        return replace(base, query=encoded or base.query)
    if not path.startswith("/"):
        path = base.path.rpartition("/")[0] + "/" + path
    return replace(base, path=normal_path(path), query=encoded)


def normal_path(path: str) -> str:
    """The path without dot segments, escapes of plain characters undone, all else escaped. Raises TargetError."""
    out: list[str] = []
    segments = _encoded(path or "/", PATH_BYTES, "path").split("/")[1:]
    for index, segment in enumerate(segments):
        if segment not in (".", ".."):
            out.append(segment)
            continue
        if segment == ".." and out:
            out.pop()
        if index == len(segments) - 1:
            out.append("")
    return "/" + "/".join(out)


def ambiguity(path: str) -> str | None:
    """Why another server might take this normal path for a different one; None when none should.

    Servers differ in whether an escaped slash divides, double slashes are one, escapes are undone twice, parameters
    after a semicolon count, and characters are folded (NFKC). A grant of paths can only hold where they agree.
    """
    if "//" in path:
        return "it has two slashes in a row"
    try:
        plain = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return "its percent-encoding is not UTF-8"
    if any(ord(character) < 32 or ord(character) == 127 for character in plain):
        return "it holds an encoded control character"
    folded = unicodedata.normalize("NFKC", plain)
    if _STILL_ENCODED.search(folded):
        return "it is percent-encoded twice"
    if "\\" in folded or folded.count("/") != path.count("/"):
        return "it holds an encoded slash or backslash"
    if any(segment.partition(";")[0].strip() in (".", "..") for segment in folded.split("/")):
        return "it holds a hidden dot segment"
    return None


def _check_characters(url: str) -> None:
    if len(url) > MAX_URL_CHARACTERS:
        raise TargetError(f"the URL has {len(url)} characters; at most {MAX_URL_CHARACTERS} are allowed")
    if _FORBIDDEN.search(url):
        raise TargetError("the URL holds a space, a control character or a backslash; percent-encode it")


def _authority(authority: str, scheme: str) -> tuple[str, int, bool]:
    if "@" in authority:
        raise TargetError("the URL holds a user name; send credentials in a header")
    match = _AUTHORITY.match(authority)
    if match is None or not match[1]:
        raise TargetError("the URL has no host that can be read without doubt")
    port = DEFAULT_PORTS[scheme] if match[2] is None else int(match[2])
    if not 1 <= port <= 65_535:
        raise TargetError(f"{port} is no port")
    if match[1].startswith("["):
        return match[1].lower(), port, True
    host = _host(match[1])
    return host, port, _NUMERIC.match(host.rpartition(".")[2]) is not None


def _host(text: str) -> str:
    """A name in lower case and ASCII, without the dot that ends a full one."""
    host = text.lower()
    if not host.isascii() or "xn--" in host:
        try:
            host = idna.encode(host, uts46=True, std3_rules=True).decode().lower()
        except (idna.IDNAError, UnicodeError) as error:
            raise TargetError("the URL's host is no name that can be looked up") from error
    host = host.removesuffix(".")
    if len(host) > 253 or not all(_LABEL.match(label) for label in host.split(".")):
        raise TargetError("the URL's host is no name that can be looked up")
    return host


def _encoded(text: str, allowed: frozenset[int], where: str) -> str:
    """Text with every byte outside of `allowed` escaped, and no escape of a byte that needs none."""
    form = settled(text, allowed)
    if form is None:
        raise TargetError(f"the URL's {where} holds a % that begins no escape; write %25")
    return form
