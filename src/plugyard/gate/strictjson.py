"""A JSON reader that reports what other readers pass over, with the line of each value. ``manifest`` calls it.

RFC 8259 leaves duplicate keys, lone surrogates and huge numbers to the reader; here each is a finding, because two
readers of one manifest must not see two manifests. The standard library's reader also takes NaN and gives no pointer.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from plugyard.gate.findings import Findings
from plugyard.gate.limits import GateLimits

_LINE_END = re.compile("\n")
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"-?(?:NaN|Infinity)")
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MAX_EXACT = 2**53 - 1


class _Unreadable(Exception):
    """The text cannot be read on; the finding that says why has been added."""


@dataclass
class Document:
    """A value and, for each RFC 6901 pointer in it, where it begins in the text."""

    value: Any
    file: str
    _text: str
    _places: dict[str, int] = field(default_factory=dict)

    def where(self, pointer: str) -> str:
        """The place as a finding names it."""
        return f"{self.file}#{pointer}"

    def line(self, pointer: str) -> int | None:
        """The line, counted from 1, on which the value or its nearest parent begins."""
        while pointer and pointer not in self._places:
            pointer = pointer.rpartition("/")[0]
        at = self._places.get(pointer)
        return None if at is None else bisect_left(self._line_ends, at) + 1

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in _LINE_END.finditer(self._text)]


def child(pointer: str, key: str | int) -> str:
    """The pointer of a member, escaped as RFC 6901 section 3 says."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def parse(data: bytes, file: str, limits: GateLimits, findings: Findings) -> Document | None:
    """Read a whole document; ``None`` where it cannot be read, with the findings that say why."""
    if len(data) > limits.manifest_bytes:
        findings.add("manifest.too-large", file, f"is larger than {limits.manifest_bytes} bytes")
        return None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        findings.add("manifest.encoding", file, "is UTF-16")
        return None
    if data.startswith(b"\xef\xbb\xbf"):
        findings.add("manifest.encoding", file, "begins with a byte order mark", line=1)
        data = data[3:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        findings.add("manifest.encoding", file, f"holds bytes that are not UTF-8, the first on line {line}", line=line)
        return None
    reader = _Reader(text, file, limits.manifest_depth, findings)
    try:
        return reader.document()
    except _Unreadable:
        return None


class _Reader:
    def __init__(self, text: str, file: str, depth: int, findings: Findings) -> None:
        self._text, self._at, self._depth, self._findings = text, 0, depth, findings
        self._file = file
        self._document = Document(None, file, text)

    def document(self) -> Document:
        self._skip_space()
        if self._at == len(self._text):
            self._fail("is empty")
        self._document.value = self._value("", 1)
        self._skip_space()
        if self._at < len(self._text):
            self._fail(f"goes on with {self._seen()} after its value has ended")
        return self._document

    def _value(self, pointer: str, depth: int) -> Any:
        self._document._places.setdefault(pointer, self._at)
        start = self._text[self._at : self._at + 1]
        if start in ("{", "["):
            if depth > self._depth:
                self._add("manifest.depth", pointer, f"is nested deeper than {self._depth} levels")
                raise _Unreadable
            self._at += 1
            return self._object(pointer, depth) if start == "{" else self._array(pointer, depth)
        if start == '"':
            self._at += 1
            return self._string(pointer)
        for word, value in (("true", True), ("false", False), ("null", None)):
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return value
        return self._number(pointer)

    def _object(self, pointer: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        self._skip_space()
        if self._take("}"):
            return result
        while True:
            if not self._take('"'):
                self._fail(f"expects a key in double quotes and finds {self._seen()}")
            at = self._at - 1
            key = self._string(pointer)
            member = child(pointer, key)
            if key in result:
                line = self._text.count("\n", 0, at) + 1
                what = f"the key {key!r} occurs again on line {line}"
                self._findings.add("manifest.duplicate-key", self._document.where(member), what, line=line)
            self._skip_space()
            if not self._take(":"):
                self._fail(f"expects ':' after the key {key!r} and finds {self._seen()}")
            self._skip_space()
            result[key] = self._value(member, depth + 1)
            self._skip_space()
            if self._take("}"):
                return result
            if not self._take(","):
                self._fail(f"expects ',' or '}}' and finds {self._seen()}")
            self._skip_space()
            if self._text.startswith("}", self._at):
                self._fail("has a comma before '}'")

    def _array(self, pointer: str, depth: int) -> list[Any]:
        result: list[Any] = []
        self._skip_space()
        if self._take("]"):
            return result
        while True:
            result.append(self._value(child(pointer, len(result)), depth + 1))
            self._skip_space()
            if self._take("]"):
                return result
            if not self._take(","):
                self._fail(f"expects ',' or ']' and finds {self._seen()}")
            self._skip_space()
            if self._text.startswith("]", self._at):
                self._fail("has a comma before ']'")

    def _string(self, pointer: str) -> str:
        parts: list[str] = []
        while True:
            match = _PLAIN.match(self._text, self._at)
            assert match is not None  # noqa: S101 - the pattern matches the empty string too
            parts.append(match.group())
            self._at = match.end()
            if self._take('"'):
                return "".join(parts)
            if not self._take("\\"):
                self._fail("has a string without its closing quote" if self._ended() else "has a raw control character")
            parts.append(self._escape(pointer))

    def _escape(self, pointer: str) -> str:
        letter = self._text[self._at : self._at + 1]
        self._at += 1
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter != "u":
            self._at -= 1
            self._fail(f"has an escape that JSON does not know: \\{letter}")
        code = self._hex()
        if 0xD800 <= code < 0xDC00 and self._text.startswith("\\u", self._at):
            before, self._at = self._at, self._at + 2
            low = self._hex()
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00))
            self._at = before
        if 0xD800 <= code < 0xE000:
            self._add("manifest.surrogate", pointer, f"holds \\u{code:04x} without its other half")
            return "\ufffd"
        if code == 0:
            self._add("manifest.nul", pointer, "holds the character U+0000")
            return "\ufffd"
        return chr(code)

    def _hex(self) -> int:
        match = _HEX.match(self._text, self._at)
        if match is None:
            self._fail("has a \\u escape without four hexadecimal digits")
        self._at += 4
        return int(match.group(), 16)

    def _number(self, pointer: str) -> int | float:
        if match := _NOT_FINITE.match(self._text, self._at):
            self._add("manifest.number", pointer, f"is {match.group()}, which JSON does not know")
            self._at = match.end()
            return 0
        match = _NUMBER.match(self._text, self._at)
        if match is None:
            self._fail(f"expects a value and finds {self._seen()}")
        digits = match.group()
        after = self._text[match.end() : match.end() + 1]
        if after.isalnum() or after in ("_", ".", "+"):
            self._fail(f"has a malformed number that begins with {digits}{after}")
        self._at = match.end()
        if match.group(1) or match.group(2):
            number = float(digits)
            if number in (float("inf"), float("-inf")):
                self._add("manifest.number", pointer, f"is {digits[:40]}, which no double can hold")
                return 0
            return number
        # Python refuses to convert very long digits, so their number is looked at first.
        if len(digits) > 17 or abs(int(digits)) > _MAX_EXACT:
            self._add("manifest.number", pointer, f"is {digits[:40]}, beyond what every reader keeps exactly")
            return 0
        return int(digits)

    def _take(self, character: str) -> bool:
        if self._text.startswith(character, self._at):
            self._at += 1
            return True
        return False

    def _ended(self) -> bool:
        return self._at >= len(self._text) or self._text[self._at] in "\r\n"

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _seen(self) -> str:
        if self._at >= len(self._text):
            return "the end of the file"
        if self._text.startswith(("//", "/*", "#"), self._at):
            return "a comment, which JSON does not know"
        return repr(self._text[self._at])

    def _add(self, rule: str, pointer: str, what: str) -> None:
        line = self._text.count("\n", 0, self._at) + 1
        self._findings.add(rule, self._document.where(pointer), what, line=line)

    def _fail(self, what: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - (self._text.rfind("\n", 0, self._at) + 1) + 1
        where = f"line {line}, column {column}"
        self._findings.add("manifest.syntax", self._file, f"{where}: {what}", line=line)
        raise _Unreadable
