"""Secrets in any file: keys, tokens, passwords, by the expressions of detect-secrets.

A quick search by fixed bytes points out places, and the expressions look at short pieces around them, so that the work
grows with the size of the package and with nothing else, whatever the bytes are. A finding never quotes a secret.
"""

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate import detector
from plugyard.gate.check import Check
from plugyard.gate.detector import JWT, KEY, KINDS, LIKELY, SURE, URL, Detector, Kind
from plugyard.gate.findings import ENOUGH, Findings
from plugyard.gate.package import Package

_WHY = "Whoever gets hold of the package has it too: every tenant that installs it, and every copy and backup."
_MEND = (
    "Revoke it, for it has left your hands. Let the plugin take it from its configuration: a property marked writeOnly "
    "is kept as a secret."
)
_RULES = (
    Rule(KEY, Severity.ERROR, Consequence.BLOCK, "a file holds a private key", _WHY, _MEND),
    Rule(SURE, Severity.ERROR, Consequence.BLOCK, "a file holds a token of a known service", _WHY, _MEND),
    Rule(
        LIKELY,
        Severity.WARNING,
        Consequence.QUARANTINE,
        "a file holds what looks like a token of a known service",
        _WHY,
        _MEND,
    ),
    Rule(
        URL,
        Severity.WARNING,
        Consequence.QUARANTINE,
        "an address or a connection string holds a password",
        _WHY,
        _MEND,
    ),
    Rule(
        "secret.file",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "a file is of a kind that is kept secret",
        _WHY,
        "Leave the file out. If it holds a secret, revoke it, and let the plugin take it from its configuration.",
    ),
    Rule(
        JWT,
        Severity.WARNING,
        Consequence.SHOW,
        "a file holds a JSON Web Token",
        "Some of them never expire, and whoever has one acts in its owner's name.",
        _MEND,
    ),
    Rule(
        "secret.assigned",
        Severity.WARNING,
        Consequence.SHOW,
        "a text that looks random is assigned to a name like password, secret or token",
        "It is a guess. If it is right: whoever gets hold of the package has the secret too.",
        "If it is a secret, revoke it and let the plugin take it from its configuration; else there is nothing to do.",
    ),
    Rule(
        "secret.not-searched",
        Severity.INFO,
        Consequence.SHOW,
        "a part of the package was not searched for secrets",
        "So many places look like the beginning of a secret that looking at all would take too long.",
        "Look yourself at the files that are named.",
    ),
)

_BUDGET = 40_000_000
"""How many characters the expressions may look at in one package; an honest one of 50 MB needs less than a tenth."""
_LOOK = 200  # what one look costs beside its characters
_SHOWN = 4
_HOSTS_OF_NOBODY = re.compile(
    r"(?i)(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|host|hostname|server|domain|proxy|"
    r"[\w.-]*\.(?:test|local|invalid|localhost)|[\w.-]*example[\w.-]*|foo|bar)(?:[:/?#\"'`\s),;\]\\]|\Z)"
)
# A host of one word is one of a manual, or of a network that nobody reaches from outside.
_ONE_WORD = re.compile(r"(?i)[a-z0-9_-]+(?:[:/?#\"'`\s),;\]\\]|\Z)")
_PEM_BODY = re.compile(r"(?:[^\n-]{0,20}-----)(?P<body>[A-Za-z0-9+/=:,.\-\s\\\"'`+;()]{0,6000})")
_PEM_TEXT = re.compile(r"\\[nrt]|[\s\\\"'`+;(),]")
_PEM_FIELDS = re.compile(r"(?:Proc-Type|DEK-Info|Version|Comment):[^\n\\]{0,80}")
_BASE64 = string.ascii_letters + string.digits + "+/="
_SHORTEST_KEY = 60  # an Ed25519 key in PKCS #8 has 64 characters, the shortest of all
_SECRET_NAMES = {
    ".env": rb"(?im)^[ \t]*(?:export )?[\w.]*(?:key|secret|token|passw|pwd)[\w.]*[ \t]*=[ \t]*[^\s#]{4}",
    ".npmrc": rb"(?im)_(?:auth|authtoken|password)[ \t]*=[ \t]*[^\s$]{8}",
    ".pypirc": rb"(?im)^[ \t]*password[ \t]*[:=][ \t]*\S{4}",
    ".netrc": rb"(?i)\bpassword[ \t]+\S{3}",
    "_netrc": rb"(?i)\bpassword[ \t]+\S{3}",
    ".git-credentials": rb"://[^\s:@]{1,100}:[^\s@]{1,200}@",
    ".pgpass": rb"(?m)^[^#\n:]{1,100}(?::[^\n:]{1,100}){4}",
    ".htpasswd": rb"(?m)^[^\s:#]{1,100}:\S{8}",
    "credentials": rb"(?i)aws_secret_access_key[ \t]*=[ \t]*\S{8}",
    ".dockercfg": rb"\"auth\"[ \t\r\n]*:[ \t\r\n]*\"[^\"]{4}",
    "terraform.tfstate": rb"\"(?:password|secret|token)\"[ \t\r\n]*:[ \t\r\n]*\"[^\"]{4}",
}
_SECRET_KINDS = {
    ".p12": b"\x30",
    ".pfx": b"\x30",
    ".jks": b"\xfe\xed\xfe\xed",
    ".kdbx": b"\x03\xd9\xa2\x9a",
    ".ppk": b"PuTTY-User-Key-File-",
    ".keystore": b"\xfe\xed\xfe\xed",
    ".bks": b"\x00\x00\x00",
}
_SSH_KEYS = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?\Z")


@dataclass
class _Search:
    """One package's search. ``left`` is what may still be looked at."""

    findings: Findings
    detector: Detector
    assigned: re.Pattern[bytes]
    left: int = _BUDGET
    told: int = 0
    unsearched: list[str] = field(default_factory=list)

    def afford(self, size: int) -> bool:
        self.left -= size + _LOOK
        return self.left > 0

    def tell(self, rule: str, path: str, lines: "_Lines", at: int, what: str) -> None:
        self.findings.add(rule, path, what, line=lines.of(at))
        self.told += 1


class _Lines:
    """Numbers of lines by places that mostly grow, so that no byte is counted again for each finding."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._line = data, 0, 1

    def of(self, at: int) -> int:
        if at < self._at:
            self._at, self._line = 0, 1
        self._line += self._data.count(b"\n", self._at, at)
        self._at = at
        return self._line


def _run(package: Package, findings: Findings) -> None:
    loaded = detector.load()
    words = "|".join(sorted({*loaded.words, "token", "credential", "access_?key"}))
    search = _Search(findings, loaded, re.compile(f"(?:{words})".encode()))
    for path, data, text in _files(package):
        if search.told >= ENOUGH:
            break
        if search.left <= 0:
            search.unsearched.append(path)
            continue
        _by_name(search, path, data)
        _by_shape(search, path, data)
        if text:
            _by_word(search, path, data)
        if search.left <= 0:
            search.unsearched.append(path)
    for path in search.unsearched[:3]:
        findings.add("secret.not-searched", path, "was not searched to its end")


def _files(package: Package) -> Iterator[tuple[str, bytes, bool]]:
    """Every file with its bytes, and whether they are text."""
    for path, text in package.texts.items():
        yield path, text.encode("utf-8", "surrogatepass"), True
    for path, data in package.others.items():
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            yield path, data.decode("utf-16", "replace").encode("utf-8", "replace"), True
        else:
            yield path, data, b"\0" not in data[:4096]


def _by_name(search: _Search, path: str, data: bytes) -> None:
    name = path.rsplit("/", 1)[-1].lower()
    if name.startswith(".env.") and not re.search(r"example|sample|template|dist", name):
        name = ".env"
    shape = _SECRET_NAMES.get(name)
    head = data[:65_536]
    if shape is not None and (found := re.search(shape, head)):
        search.tell("secret.file", path, _Lines(data), found.start(), "is a file of credentials, and some are in it")
    elif _SSH_KEYS.match(name) and data:
        search.findings.add("secret.file", path, "is named like the private key of somebody's SSH")
    else:
        magic = next((magic for ending, magic in _SECRET_KINDS.items() if name.endswith(ending)), None)
        if magic is not None and data.startswith(magic):
            search.findings.add("secret.file", path, "is a container of keys")


def _by_shape(search: _Search, path: str, data: bytes) -> None:
    lines, lower = _Lines(data), None
    for kind in KINDS:
        if kind.words:
            lower = data.lower() if lower is None else lower
            if not any(word in lower for word in kind.words):
                continue
        for anchor in kind.anchors:
            at = data.find(anchor)
            while at != -1:
                begin = max(0, at - kind.before)
                window = data[begin : at + kind.after]
                if not search.afford(len(window)) or search.told >= ENOUGH:
                    return
                end = _look(search, kind, path, lines, begin, window, anchor_at=at - begin, data=data)
                at = data.find(anchor, max(at + len(anchor), end))


def _look(
    search: _Search, kind: Kind, path: str, lines: _Lines, begin: int, window: bytes, *, anchor_at: int, data: bytes
) -> int:
    """Look at one place; where the search goes on."""
    text = window.decode("latin-1")
    for first, last in search.detector.matches(kind, text):
        if kind.rule != URL and not first <= anchor_at < last:
            # It belongs to another place, which is looked at by itself.
            continue
        if kind.alone and (_beside(text, first - 1) or _beside(text, last)):
            continue
        what = _judge(search.detector, kind, text, first, last, data, begin + anchor_at)
        if what is not None:
            search.tell(kind.rule, path, lines, begin + first, what)
        return begin + last
    return 0


def _beside(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] in "+/_")


def _judge(loaded: Detector, kind: Kind, text: str, first: int, last: int, data: bytes, at: int) -> str | None:
    """What to say of a match, or ``None`` where it is no secret after all."""
    secret = text[first:last]
    if kind.rule == KEY:
        return _private_key(data, at)
    if kind.rule == URL:
        return _password(loaded, text, first, last)
    if kind.rule == JWT:
        if not loaded.is_token(secret) or secret.count(".") != 2 or len(secret) < 60:
            return None
    else:
        # The body alone: a prefix that all have in common says nothing of how random it is.
        body = re.split(r"[_=:.\"'\s-]", secret.strip("\"' "))[-1] or secret
        if loaded.placeholder(secret) or detector.entropy_of(body) < min(3.0, 0.7 * max(1, len(body)) ** 0.5):
            return None
    return f"holds {kind.name}, which begins with {secret[:_SHOWN]!r}"


def _private_key(data: bytes, at: int) -> str | None:
    """A header alone is what every library of cryptography has; a key is what follows it."""
    if data.startswith(b"PuTTY", at):
        return "holds a private key" if b"Private-Lines:" in data[at : at + 20_000] else None
    text = data[at : at + 6_200].decode("latin-1")
    found = _PEM_BODY.match(text, len("PRIVATE KEY"))
    if not found:
        return None
    body = _PEM_TEXT.sub("", _PEM_FIELDS.sub("", found["body"])).split("-----")[0]
    key = body[: len(body) - len(body.lstrip(_BASE64))]
    if len(key) < _SHORTEST_KEY or detector.entropy_of(key) < 4.0:
        return None
    return "holds a private key"


def _password(loaded: Detector, text: str, first: int, last: int) -> str | None:
    password = text[first:last]
    user = text[text.rfind("://", 0, first) + 3 : first - 1]
    if len(password) < 4 or loaded.placeholder(password) or loaded.placeholder(user):
        return None
    if password.lower() in user.lower() or re.search(r"[%{}<>$#]|\\", password.replace("%40", "")):
        return None
    if (
        _HOSTS_OF_NOBODY.match(text, last + 1)
        or _ONE_WORD.match(text, last + 1)
        or not re.match(r"[\w\[]", text[last + 1 : last + 2])
    ):
        return None
    return "holds a password for the host behind it"


_ASSIGNMENT = re.compile(
    rb"[\w.\-]{0,30}[\"'\]`]{0,2}[ \t]{0,8}(?::=|=>|[:=])[ \t]{0,8}"
    rb"(?:[\"'`](?P<quoted>[A-Za-z0-9+/=_\-]{16,200})[\"'`]|(?P<bare>[A-Za-z0-9+/=_\-]{16,200})[ \t\r]*(?:\n|\Z))"
)
_CONNECTION = re.compile(rb"(?i);[ \t]{0,4}(?:password|pwd)[ \t]{0,4}=[ \t]{0,4}(?P<password>[^;\"'`\s]{4,100})")
_UNQUOTED = (".env", ".ini", ".cfg", ".conf", ".properties", ".toml", ".yaml", ".yml", ".txt", "rc")


def _by_word(search: _Search, path: str, data: bytes) -> None:
    """Guesses: a random text behind a word that means a secret, and connection strings as ADO and ODBC write them."""
    lines, lower, name = _Lines(data), data.lower(), path.lower()
    bare = name.endswith(_UNQUOTED)
    go_on = 0
    for word in search.assigned.finditer(lower):
        if word.end() < go_on:
            continue
        if not search.afford(60) or search.told >= ENOUGH:
            return
        found = _ASSIGNMENT.match(data, word.end(), min(len(data), word.end() + 280))
        if found is None:
            continue
        value = found["quoted"] or (found["bare"] if bare else None)
        if value is not None and _looks_random(search.detector, value.decode("ascii")):
            go_on = found.end()
            what = f"assigns what looks random and begins with {value[:_SHOWN].decode('ascii')!r}"
            search.tell("secret.assigned", path, lines, word.start(), what)
    if b"server=" in lower or b"data source=" in lower or b"host=" in lower:
        _connection_strings(search, path, data, lines)


def _connection_strings(search: _Search, path: str, data: bytes, lines: _Lines) -> None:
    at = data.find(b";")
    while at != -1:
        found = _CONNECTION.match(data, at, min(len(data), at + 130))
        if found is not None:
            if not search.afford(400) or search.told >= ENOUGH:
                return
            line = data[max(0, at - 200) : at + 200].decode("latin-1")
            password = found["password"].decode("latin-1")
            known = re.search(r"(?i)(?:server|data source|host)\s{0,4}=\s{0,4}([^;\"'`\s]{1,100})", line)
            template = re.search(r"[{}<>$%]", password) or search.detector.placeholder(password)
            if known and not template and not _HOSTS_OF_NOBODY.match(known[1] + ";"):
                search.tell(URL, path, lines, at, "holds a password in a connection string")
        at = data.find(b";", at + 1)


def _looks_random(loaded: Detector, value: str) -> bool:
    letters, digits = sum(map(str.isalpha, value)), sum(map(str.isdigit, value))
    if digits < 2 or letters < 4 or loaded.placeholder(value):
        return False
    if re.fullmatch(r"[0-9a-fA-F]+", value):
        return loaded.hex_entropy(value) > 3.0
    # Words that are joined are names of things; what is random changes between letters and digits often.
    changes = sum(a.isdigit() != b.isdigit() or (a.isupper() != b.isupper()) for a, b in pairwise(value))
    return loaded.base64_entropy(value) > min(4.5, 3.4 + len(value) / 60) and changes * 4 > len(value)


CHECK = Check("secrets", "Keys, tokens and passwords in any file.", _RULES, _run)
