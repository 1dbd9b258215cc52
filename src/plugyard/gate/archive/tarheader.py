"""Parses the 512-byte headers and the extended headers of a TAR (POSIX.1-2017 pax; the GNU tar manual)."""

from dataclasses import dataclass

from plugyard.gate.archive.contents import Stop
from plugyard.gate.findings import Findings

BLOCK = 512


@dataclass(frozen=True, slots=True)
class TarHeader:
    """One header as it stands, before extended headers change its path or size."""

    name: bytes
    kind: bytes
    size: int
    sparse: bool


def parse(block: bytes, findings: Findings) -> TarHeader:
    """Parse one block; raises ``Stop`` where it is no header, for without its size nothing behind it can be found."""
    declared = _number(block[148:156])
    if declared is None or declared != sum(block) - sum(block[148:156]) + 8 * 32:
        findings.add("archive.damaged", "the package", "the checksum of a TAR header differs")
        raise Stop
    size = _number(block[124:136])
    if size is None or size < 0:
        findings.add("archive.damaged", _label(block), "the size in its TAR header is no number")
        raise Stop
    name = block[:100].split(b"\0", 1)[0]
    posix = block[257:263] == b"ustar\0"
    if posix and block[345]:
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    kind = block[156:157]
    return TarHeader(name, b"0" if kind == b"\0" else kind, size, kind == b"S")


def _label(block: bytes) -> str:
    return block[:100].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _number(field: bytes) -> int | None:
    """An octal number, or the base-256 form of GNU tar, whose first bit is set."""
    if field[0] & 0x80:
        return None if field[0] != 0x80 else int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    # int() takes signs, underscores and prefixes that a header must not hold.
    return int(digits, 8) if not digits.strip(b"01234567") else None


def pax_records(data: bytes, findings: Findings) -> dict[str, bytes]:
    """The records of an extended header: ``length key=value`` lines, where the length counts the whole line."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        if not any(data[at:]):
            break
        blank = data.find(b" ", at, at + 8)
        digits = data[at:blank] if blank > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        line = data[at : at + length]
        key, equals, value = line[blank + 1 - at : -1].partition(b"=")
        if not digits.isdigit() or len(line) != length or not line.endswith(b"\n") or not equals or not key:
            findings.add("archive.damaged", "the package", "an extended header of the TAR cannot be parsed")
            raise Stop
        name = key.decode("utf-8", "backslashreplace")
        if name in records:
            findings.add("archive.headers-disagree", "the package", f"an extended header gives {name} twice")
        records[name] = value
        at += length
    return records
