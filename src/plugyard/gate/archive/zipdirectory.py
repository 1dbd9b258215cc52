"""Parses a ZIP's structures: the end records, the central directory and the local headers (APPNOTE.TXT 6.3.10).

``zipreader`` compares what is parsed here; nothing here is believed on its own. ZIP64 records are read where they
stand, because streaming tools write them for small archives too.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from plugyard.gate.archive.contents import Stop
from plugyard.gate.findings import Findings

LOCAL, CENTRAL, END, END64, LOCATOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_END_SIZE, _MAX_COMMENT = 22, 0xFFFF


@dataclass(frozen=True, slots=True)
class Header:
    """One description of an entry, central or local. ``offset`` is the local header's place, ``end`` this one's end."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    extra: dict[int, bytes]
    offset: int
    end: int
    mode: int = 0
    dos: int = 0


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the central directory lies, and what the end records say of it."""

    start: int
    size: int
    entries: int


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly ``size`` bytes or fewer at the file's end."""
    file.seek(offset)
    return file.read(size)


def find_directory(file: BinaryIO, total: int, findings: Findings) -> Directory:
    """The one end record that reaches to the file's last byte; raises ``Stop`` where there is none."""
    base = max(0, total - _END_SIZE - _MAX_COMMENT)
    tail = read_at(file, base, total - base)
    places = [at for at in _occurrences(tail, END) if at + _END_SIZE <= len(tail)]
    whole = [at for at in places if at + _END_SIZE + _comment_size(tail, at) == len(tail)]
    if not whole:
        if places:
            after = len(tail) - places[-1] - _END_SIZE - _comment_size(tail, places[-1])
            if after > 0:
                findings.add("archive.trailing-data", "the package", f"{after} bytes follow the end record")
                raise Stop
        findings.add("archive.truncated", "the package", "the end record of the ZIP is missing or cut")
        raise Stop
    comment = tail[whole[0] + _END_SIZE :]
    # A mark before the one record that fits lies in an entry's data, as in a ZIP within a ZIP, and deceives nobody.
    if len(whole) > 1 or any(mark in comment for mark in (END, END64, LOCATOR, CENTRAL, LOCAL)):
        findings.add("archive.ambiguous-end", "the package", "the end of the ZIP holds marks of further ZIP records")
    elif comment:
        findings.add("archive.comment", "the package", f"a comment of {len(comment)} bytes")
    return _directory(file, tail[whole[0] :], base + whole[0], findings)


def _occurrences(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def _comment_size(tail: bytes, at: int) -> int:
    return int.from_bytes(tail[at + 20 : at + 22], "little")


def _directory(file: BinaryIO, record: bytes, end_at: int, findings: Findings) -> Directory:
    disk, first_disk, here, entries, size, start = struct.unpack("<4xHHHHII", record[:20])
    directory_end = end_at
    locator = read_at(file, end_at - 20, 20) if end_at >= 76 else b""
    if locator.startswith(LOCATOR):
        place, disks = struct.unpack("<8xQI", locator)
        record64 = read_at(file, place, 56) if place + 76 == end_at else b""
        if len(record64) != 56 or not record64.startswith(END64) or record64[4:12] != struct.pack("<Q", 44):
            findings.add("archive.damaged", "the package", "the ZIP64 end record is not where its locator says")
            raise Stop
        disk64, first64, here64, entries64, size64, start64 = struct.unpack("<16xIIQQQQ", record64)
        pairs = ((disk, disk64), (first_disk, first64), (here, here64), (entries, entries64))
        small = all(a in (b, _FULL16) for a, b in pairs) and size in (size64, _FULL32) and start in (start64, _FULL32)
        if not small:
            findings.add("archive.headers-disagree", "the package", "the end record and the ZIP64 end record differ")
            raise Stop
        disk, first_disk, here, entries, size, start = disk64, first64, here64, entries64, size64, start64
        disk = disk or (disks if disks > 1 else 0)
        directory_end = place
    if disk or first_disk or here != entries:
        findings.add("archive.several-disks", "the package", "the end record names further parts")
        raise Stop
    gap = directory_end - size - start
    if gap < 0:
        findings.add("archive.damaged", "the package", "the central directory lies outside of the file")
        raise Stop
    if gap > 0:
        if read_at(file, start, 4) == CENTRAL or (entries == 0 and start == 0):
            findings.add("archive.hidden-data", "the package", f"{gap} bytes lie between the directory and its end")
        else:
            findings.add("archive.leading-data", "the package", f"{gap} bytes stand before the ZIP")
        raise Stop
    return Directory(start, size, entries)


def central_headers(file: BinaryIO, directory: Directory, findings: Findings) -> Iterator[Header]:
    """The entries in the directory's order; raises ``Stop`` where one cannot be parsed."""
    at, end, count = directory.start, directory.start + directory.size, 0
    while at < end:
        fixed = read_at(file, at, 46)
        if len(fixed) < 46 or not fixed.startswith(CENTRAL):
            findings.add("archive.damaged", "the package", f"entry {count + 1} of the central directory is no entry")
            raise Stop
        made_by, flags, method, crc, packed, size, name, extra, comment, disk, attributes, offset = struct.unpack(
            "<4xH2xHH4xIIIHHHH2xII", fixed
        )
        rest = file.read(name + extra + comment)
        at += 46 + name + extra + comment
        if at > end or len(rest) < name + extra + comment:
            findings.add("archive.damaged", "the package", f"entry {count + 1} reaches beyond the central directory")
            raise Stop
        label = rest[:name].decode("utf-8", "replace")
        fields = extra_fields(rest[name : name + extra], label, findings)
        size, packed, offset = _widened(fields.get(1, b""), [size, packed, offset], label, findings)
        if disk not in (0, _FULL16):
            findings.add("archive.several-disks", label, "the entry lies on another part")
            raise Stop
        count += 1
        unix = made_by >> 8 in (3, 19)
        mode = attributes >> 16 if unix else 0
        yield Header(rest[:name], flags, method, crc, packed, size, fields, offset, at, mode, attributes & 0xFFFF)
    if count != directory.entries:
        what = f"the end record counts {directory.entries} entries, the directory holds {count}"
        findings.add("archive.headers-disagree", "the package", what)
        raise Stop


def local_header(file: BinaryIO, offset: int, label: str, findings: Findings) -> Header | None:
    """The header in front of an entry's data, or ``None`` with a finding where there is none."""
    fixed = read_at(file, offset, 30)
    if len(fixed) < 30 or not fixed.startswith(LOCAL):
        findings.add("archive.damaged", label, "no entry begins where the central directory says")
        return None
    flags, method, crc, packed, size, name, extra = struct.unpack("<4x2xHH4xIIIHH", fixed)
    rest = file.read(name + extra)
    if len(rest) < name + extra:
        findings.add("archive.truncated", label, "the entry's header is cut")
        return None
    fields = extra_fields(rest[name:], label, findings)
    size, packed = _widened(fields.get(1, b""), [size, packed], label, findings)
    return Header(rest[:name], flags, method, crc, packed, size, fields, offset, offset + 30 + name + extra)


def extra_fields(data: bytes, label: str, findings: Findings) -> dict[int, bytes]:
    """The extra fields by their id; a field that is cut or comes twice is a finding."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        kind, size = struct.unpack_from("<HH", data, at)
        # Alignment tools pad with zeros, which read as empty fields of kind 0.
        if at + 4 + size > len(data):
            findings.add("archive.damaged", label, "an extra field is cut")
            return fields
        if kind in (1, 0x7075) and kind in fields:
            findings.add("archive.headers-disagree", label, f"the extra field 0x{kind:04x} comes twice")
        fields[kind] = data[at + 4 : at + 4 + size]
        at += 4 + size
    if any(data[at:]):
        findings.add("archive.damaged", label, "an extra field is cut")
    return fields


def _widened(zip64: bytes, values: list[int], label: str, findings: Findings) -> list[int]:
    """The values with those that are all ones taken from the ZIP64 field, in the order that 4.5.3 fixes."""
    at = 0
    for index, value in enumerate(values):
        if value != _FULL32:
            continue
        if at + 8 > len(zip64):
            findings.add("archive.damaged", label, "the ZIP64 field lacks a size that the header leaves to it")
            break
        values[index] = int.from_bytes(zip64[at : at + 8], "little")
        at += 8
    return values
