"""Builds packages byte by byte, so that tests can write what no packing tool would."""

import json
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

MANIFEST: dict[str, Any] = {
    "metadata": {"name": "my-plugin", "version": "1.0.0"},
    "dependencies": {"node": ">=18.0.0"},
}
CODE = b"export function handleRequest(input) { return input }\n"


def manifest(**changes: Any) -> bytes:
    """A small valid manifest with some of its top-level fields replaced; ``None`` removes one."""
    document = {**MANIFEST, **changes}
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def deflated(data: bytes) -> bytes:
    """Raw deflate, as ZIP holds it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@dataclass(frozen=True)
class Entry:
    """A ZIP entry. ``local`` and ``central`` override what one of the two headers says."""

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    packed: bytes | None = None
    mode: int = 0o100644
    dos: int = 0
    extra: bytes = b""
    streamed: str = ""
    before: bytes = b""
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)

    @property
    def stored(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflated(self.data) if self.method == 8 else self.data

    def fields(self) -> dict[str, Any]:
        flags = self.flags | (8 if self.streamed else 0)
        return {
            "name": self.name,
            "flags": flags,
            "method": self.method,
            "crc": zlib.crc32(self.data) if self.crc is None else self.crc,
            "packed": len(self.stored),
            "size": len(self.data) if self.size is None else self.size,
            "extra": self.extra,
        }


def _local(entry: Entry) -> bytes:
    values = entry.fields()
    if entry.streamed:
        values |= {"crc": 0, "packed": 0, "size": 0}
    values |= entry.local
    header = struct.pack(
        "<4sHHHIIIIHH",
        b"PK\x03\x04",
        20,
        values["flags"],
        values["method"],
        0,
        values["crc"],
        values["packed"],
        values["size"],
        len(values["name"]),
        len(values["extra"]),
    )
    return header + values["name"] + values["extra"]


def _descriptor(entry: Entry) -> bytes:
    values = entry.fields()
    width = "QQ" if "64" in entry.streamed else "II"
    body = struct.pack("<I" + width, values["crc"], values["packed"], values["size"])
    return (b"PK\x07\x08" if "marked" in entry.streamed else b"") + body if entry.streamed else b""


def _central(entry: Entry, offset: int) -> bytes:
    values = entry.fields() | {"offset": offset, "disk": 0, "comment": b""} | entry.central
    header = struct.pack(
        "<4sHHHHIIIIHHHHHII",
        b"PK\x01\x02",
        3 << 8 | 20,
        20,
        values["flags"],
        values["method"],
        0,
        values["crc"],
        values["packed"],
        values["size"],
        len(values["name"]),
        len(values["extra"]),
        len(values["comment"]),
        values["disk"],
        0,
        entry.mode << 16 | entry.dos,
        values["offset"],
    )
    return header + values["name"] + values["extra"] + values["comment"]


def end_record(count: int, size: int, start: int, *, comment: bytes = b"", disk: int = 0) -> bytes:
    """The end of a ZIP."""
    return struct.pack("<4sHHHHIIH", b"PK\x05\x06", disk, disk, count, count, size, start, len(comment)) + comment


def zip64_end(count: int, size: int, start: int, at: int) -> bytes:
    """The two ZIP64 records that stand before the end record."""
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    return record + struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)


def zip_of(
    *entries: Entry,
    comment: bytes = b"",
    gap: bytes = b"",
    count: int | None = None,
    disk: int = 0,
    zip64: bool = False,
) -> bytes:
    """A ZIP of these entries. ``gap`` is put between the last entry and the directory."""
    body, directory = b"", b""
    for entry in entries:
        body += entry.before
        directory += _central(entry, len(body))
        body += _local(entry) + entry.stored + _descriptor(entry)
    body += gap
    number = len(entries) if count is None else count
    end = end_record(number, len(directory), len(body), comment=comment, disk=disk)
    if zip64:
        at = len(body) + len(directory)
        end = zip64_end(number, len(directory), len(body), at) + end_record(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    return body + directory + end


def plain(*more: Entry, text: bytes | None = None, code: bytes = CODE, **options: Any) -> bytes:
    """A whole small package as ZIP: manifest, entry file and what is given."""
    first = Entry(b"plugin.json", manifest() if text is None else text)
    return zip_of(first, Entry(b"index.js", code, method=8), *more, **options)


@dataclass(frozen=True)
class Member:
    """A TAR member with its header as it will stand."""

    name: bytes
    data: bytes = b""
    kind: bytes = b"0"
    size: int | None = None
    checksum: int | None = None
    link: bytes = b""
    magic: bytes = b"ustar\x0000"
    prefix: bytes = b""
    size_field: bytes | None = None

    def blocks(self) -> bytes:
        size = len(self.data) if self.size is None else self.size
        field_ = self.size_field if self.size_field is not None else b"%011o\0" % size
        head = self.name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field_ + b"00000000000\0"
        tail = (
            self.kind + self.link.ljust(100, b"\0") + self.magic + bytes(64) + bytes(16) + self.prefix.ljust(155, b"\0")
        )
        total = sum(head) + sum(tail) + 8 * 32 if self.checksum is None else self.checksum
        block = head + b"%06o\0 " % total + tail
        return block.ljust(512, b"\0") + self.data + bytes(-len(self.data) % 512)


def pax(*records: tuple[str, str], kind: bytes = b"x") -> Member:
    """An extended header of these records."""
    data = b""
    for key, value in records:
        line = f" {key}={value}\n".encode()
        length = len(line) + len(str(len(line)))
        length = len(line) + len(str(length))
        data += str(length).encode() + line
    return Member(b"PaxHeader", data, kind)


def gz(data: bytes, level: int = 6) -> bytes:
    """One gzip stream."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def tar(*members: Member, end: bytes = bytes(1024)) -> bytes:
    """The TAR without its compression."""
    return b"".join(member.blocks() for member in members) + end


BASE = (Member(b"plugin.json", manifest()), Member(b"index.js", CODE))


def taped(*more: Member, end: bytes = bytes(1024)) -> bytes:
    """A whole small package as TAR.GZ: manifest, entry file and what is given."""
    return gz(tar(*BASE, *more, end=end))


def streamed(entry: Entry, form: str) -> Entry:
    """The entry with its sizes behind its data: ``marked``, ``plain``, and either with ``64``."""
    return replace(entry, streamed=form)
