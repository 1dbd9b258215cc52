"""Looks at the outermost layer of a WebAssembly component: is it one, what does it import, what does it export.

``inspect`` calls ``check`` for a package of the runtime ``wasm``. The rest of the binary is the compiler's to validate,
which the service runs in a jail of its own; what is found here is found in every check, the author's own included, and
in the author's words. Source: the component model's Binary.md, preamble, sections, imports and exports.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from plugyard.gate.findings import ENOUGH, Findings

HOST = "plugyard:plugin/host@1.0.0"
EXPORTS = ("functions", "invoke")
WASI = ("cli", "clocks", "filesystem", "io", "random")
"""What is there of WASI 0.2, as the standard libraries of languages want it. The folders, arguments and variables are
empty."""

_WASI = re.compile(rf"wasi:(?:{'|'.join(WASI)})/[a-z0-9-]+@0\.2\.[0-9]+\Z")
_MAGIC, _COMPONENT, _MODULE = b"\0asm", b"\x0d\0\x01\0", b"\x01\0\0\0"
PREAMBLE = _MAGIC + _COMPONENT
_IMPORT_SECTION, _EXPORT_SECTION, _LAST_SECTION = 10, 11, 12
_FUNCTION = 1
_LONGEST_NAME = 4096


class Malformed(Exception):
    """The bytes do not follow the format; the message says where."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The names of what a component imports, and of the functions that it exports."""

    imports: tuple[str, ...]
    functions: tuple[str, ...]


def check(data: bytes, path: str, findings: Findings) -> None:
    """Report why the file could not be a plugin."""
    if data[:4] != _MAGIC:
        findings.add("component.not-one", path, "is no WebAssembly at all: it does not begin with \\0asm")
        return
    if data[4:8] != _COMPONENT:
        kind = "a core module" if data[4:8] == _MODULE else "WebAssembly of another format or version"
        findings.add("component.not-one", path, f"is {kind}, not a component")
        return
    try:
        outline = read(data)
    except Malformed as error:
        findings.add("component.malformed", path, str(error))
        return
    for name in outline.imports[:ENOUGH]:
        if name != HOST and not _WASI.match(name):
            findings.add("component.import", path, f"imports {name}, which is not offered")
    for name in EXPORTS:
        if name not in outline.functions:
            findings.add("component.export-missing", path, f"does not export a function {name}")


def read(data: bytes) -> Outline:
    """The outline of a component; raises ``Malformed``. Linear in the number of sections, imports and exports."""
    imports: list[str] = []
    functions: list[str] = []
    reader = Reader(data, 8, len(data))
    while not reader.done:
        kind = reader.byte()
        if kind > _LAST_SECTION:
            raise Malformed(f"section {kind} at byte {reader.at - 1} is not known")
        section = reader.part(reader.number())
        if kind == _IMPORT_SECTION:
            imports += _imports(section)
        elif kind == _EXPORT_SECTION:
            functions += _exports(section)
    return Outline(tuple(imports), tuple(functions))


def _imports(section: "Reader") -> Iterator[str]:
    for _ in range(section.number()):
        yield section.name()
        section.description()
    section.end()


def _exports(section: "Reader") -> Iterator[str]:
    for _ in range(section.number()):
        name = section.name()
        sort = section.byte()
        if sort == 0:
            section.byte()
        section.number()
        if section.byte():
            section.description()
        if sort == _FUNCTION:
            yield name
    section.end()


class Reader:
    """A cursor over a part of the binary that never leaves it."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self.at, self._end = data, at, end

    @property
    def done(self) -> bool:
        return self.at >= self._end

    def byte(self) -> int:
        if self.done:
            raise Malformed(f"ends in the middle of something at byte {self.at}")
        self.at += 1
        return self._data[self.at - 1]

    def number(self) -> int:
        """An unsigned LEB128 number of at most 32 bits."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise Malformed(f"a number before byte {self.at} is too long")
        if value >> 32:
            raise Malformed(f"a number before byte {self.at} is too large")
        return value

    def part(self, size: int) -> "Reader":
        """The next `size` bytes as a reader of their own; this one moves behind them."""
        if size > self._end - self.at:
            raise Malformed(f"a section at byte {self.at} is longer than the file")
        begin, self.at = self.at, self.at + size
        return Reader(self._data, begin, self.at)

    def name(self) -> str:
        """The name of an import or an export, in either of its forms."""
        if self.byte() > 1:
            raise Malformed(f"the name at byte {self.at - 1} has a form that is not known")
        length = self.number()
        if length > min(_LONGEST_NAME, self._end - self.at):
            raise Malformed(f"the name at byte {self.at} is too long")
        begin, self.at = self.at, self.at + length
        try:
            return self._data[begin : self.at].decode()
        except UnicodeDecodeError:
            raise Malformed(f"the name at byte {begin} is not UTF-8") from None

    def description(self) -> None:
        """What kind of thing is imported or exported; only its extent matters here."""
        kind = self.byte()
        if kind == 0:
            self.byte()
            self.number()
        elif kind in (1, 4, 5):
            self.number()
        elif kind in (2, 3):
            # A bound: equal to something, or any value type or resource.
            if self.byte() == 0 or kind == 2:
                self.number()
        else:
            raise Malformed(f"a description at byte {self.at - 1} is not known")

    def end(self) -> None:
        if not self.done:
            raise Malformed(f"a section holds more than it says, at byte {self.at}")
