"""What the words of a permission mean: which hosts, paths and topics an entry allows, and when one covers another.

The fences of ``sandbox/services`` judge each use with the same functions by which ``permissions.py`` judges a grant, so
that a grant which is covered by a request can never allow what the request did not. Two entries of one kind either have
nothing in common or one covers the other, which is what makes ``common`` exact.
"""

import re
from collections.abc import Callable, Iterable

DEFAULT_PORTS = {"http": 80, "https": 443}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
PATH_BYTES = UNRESERVED | frozenset(b"!$&'()*+,;=:@/%")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*\.?(:[1-9][0-9]{0,4})?", re.IGNORECASE)
_PATH = re.compile(r"/[^*\s?#\\]*\*?")
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?")


def settled(text: str, allowed: frozenset[int]) -> str | None:
    """Text with every byte outside of ``allowed`` escaped and no escape of a byte that needs none (RFC 3986, 6.2.2).

    ``None`` where a % begins no escape.
    """
    bad = False

    def judged(match: re.Match[str]) -> str:
        nonlocal bad
        if match[1] is None:
            bad = True
            return ""
        value = int(match[1], 16)
        return chr(value) if value in UNRESERVED else f"%{value:02X}"

    plain = _ESCAPE.sub(judged, text)
    if bad:
        return None
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in plain.encode("utf-8", "surrogatepass"))


def host_allows(entry: str, host: str, port: int, *, usual: bool) -> bool:
    """Whether an entry of ``hosts`` allows a host in lower case; ``usual`` says that the port is its scheme's own.

    An entry is an exact name, or ``*.`` and a name of at least two labels, which takes every host below it; perhaps
    with a port.
    """
    name, wanted = _host(entry)
    if wanted != str(port) if wanted else not usual:
        return False
    if not name.startswith("*."):
        return name == host
    return "." in name[2:] and host.endswith(name[1:])


def path_allows(entry: str, path: str) -> bool:
    """Whether an entry of ``paths`` allows a path in its normal form: exactly, or as a beginning before a star."""
    form = _path(entry)
    if form is None:
        return False
    beginning, open_ended = form
    return path.startswith(beginning) if open_ended else path == beginning


def topic_allows(entry: str, topic: str) -> bool:
    """Whether an entry of ``topics`` allows a topic; a star as the last word stands for one or more words."""
    return topic.startswith(entry[:-1]) if entry.endswith(".*") else topic == entry


def host_covers(wide: str, narrow: str) -> bool:
    """Whether ``wide`` allows every request that ``narrow`` allows."""
    (name, port), (other, other_port) = _host(wide), _host(narrow)
    # A named port takes both schemes on it, and no port takes each scheme's own: neither covers the other.
    if port != other_port:
        return False
    if name == other:
        return True
    return name.startswith("*.") and "." in name[2:] and other.removeprefix("*").endswith(name[1:])


def path_covers(wide: str, narrow: str) -> bool:
    """Whether ``wide`` allows every path that ``narrow`` allows."""
    form, other = _path(wide), _path(narrow)
    if form is None or other is None:
        return wide == narrow
    return other[0].startswith(form[0]) if form[1] else form == other


def topic_covers(wide: str, narrow: str) -> bool:
    """Whether ``wide`` allows every topic that ``narrow`` allows."""
    return narrow.startswith(wide[:-1]) if wide.endswith(".*") else wide == narrow


def method_covers(wide: str, narrow: str) -> bool:
    """Methods are only ever themselves (RFC 9110, 9.1: they are case-sensitive)."""
    return wide == narrow


COVERS: dict[str, Callable[[str, str], bool]] = {
    "hosts": host_covers,
    "methods": method_covers,
    "paths": path_covers,
    "topics": topic_covers,
}


def covered(key: str, entry: str, by: Iterable[str]) -> bool:
    """Whether one of ``by`` covers the entry; ``key`` is a field of a permission."""
    covers = COVERS[key]
    return any(covers(wide, entry) for wide in by)


def common(key: str, ours: Iterable[str], theirs: Iterable[str]) -> tuple[str, ...]:
    """What both lists allow, in the narrower words; the order is that of ``ours`` and then of ``theirs``."""
    mine, others = tuple(ours), tuple(theirs)
    kept = [entry for entry in mine if covered(key, entry, others)]
    kept += [entry for entry in others if covered(key, entry, mine) and not covered(key, entry, kept)]
    return tuple(dict.fromkeys(kept))


def malformed(key: str, entry: str) -> str | None:
    """What is wrong with an entry that could never allow anything, in words for an admin; ``None`` where it can."""
    if key == "methods":
        return None if entry in METHODS else f"{entry} is no method; there are: {', '.join(METHODS)}"
    if key == "hosts":
        if _HOST.fullmatch(entry) and not (entry.startswith("*.") and "." not in _host(entry)[0][2:]):
            return None
        return f"{entry} is no host's name; write it as in api.example.com, *.example.com or api.example.com:8443"
    if key == "paths":
        if _PATH.fullmatch(entry) and _path(entry) is not None:
            return None
        return f"{entry} is no path; it begins with / and has no *, except as its last character"
    return None if _TOPIC.fullmatch(entry) else f"{entry} is no topic; write it as in invoice.created or invoice.*"


def _host(entry: str) -> tuple[str, str]:
    """The name in lower case without the dot that ends a full one, and the port or nothing."""
    name, _, port = entry.lower().partition(":")
    return name.removesuffix("."), port


def _path(entry: str) -> tuple[str, bool] | None:
    """The beginning in its settled form, and whether more may follow; ``None`` for an entry that allows nothing."""
    prefix, star, _ = entry.partition("*")
    # Only the escapes are brought into one form: a pattern that ends in the midst of a segment has no other. A dot
    # segment in it stands for nothing that a request could have.
    parts = [settled(part, PATH_BYTES) for part in prefix.split("/")]
    if any(part is None for part in parts):
        return None
    return "/".join("" if part in (".", "..") else part for part in parts if part is not None), bool(star)
