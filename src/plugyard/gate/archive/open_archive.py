"""Tells the two formats apart by content and hands the file to their reader. ``inspect`` is the only caller."""

from typing import BinaryIO

from plugyard.gate.archive.contents import Contents, Stop
from plugyard.gate.archive.gzipstream import GzipStream
from plugyard.gate.archive.tarreader import read_tar
from plugyard.gate.archive.zipdirectory import END, LOCAL, read_at
from plugyard.gate.archive.zipreader import read_zip


def read(file: BinaryIO, total: int, contents: Contents) -> str:
    """Read the archive of ``total`` bytes into ``contents``; its format: ``zip``, ``tar.gz`` or empty where neither."""
    findings, limits = contents.findings, contents.limits
    if total > limits.packed_bytes:
        findings.add("archive.too-large", "the package", f"has {total} bytes; {limits.packed_bytes} are allowed")
        return ""
    head = read_at(file, 0, 4)
    if head in (LOCAL, END):
        form = "zip"
    elif head.startswith(b"\x1f\x8b\x08"):
        form = "tar.gz"
    elif _is_prefixed_zip(file, total):
        findings.add("archive.leading-data", "the package", "it does not begin with its first entry")
        return "zip"
    else:
        what = "is empty" if not total else f"begins with the bytes {head.hex(' ')}, which is neither ZIP nor gzip"
        findings.add("archive.unknown-format", "the package", what)
        return ""
    try:
        if form == "zip":
            read_zip(file, total, contents)
        else:
            _read_tar(file, contents)
    except Stop:
        # The finding that says why has been added; what was read so far is still checked.
        pass
    return form


def _is_prefixed_zip(file: BinaryIO, total: int) -> bool:
    tail = min(total, 22 + 0xFFFF)
    return END in read_at(file, total - tail, tail)


def _read_tar(file: BinaryIO, contents: Contents) -> None:
    if GzipStream(file, contents).read(263)[257:262] != b"ustar":
        # A TAR older than POSIX has no mark; its first header's checksum is what tells it from any other content.
        block = GzipStream(file, contents).read(512)
        if len(block) < 512 or (any(block) and not _is_header(block)):
            contents.findings.add("archive.unknown-format", "the package", "is gzip, but what it holds is no TAR")
            raise Stop
    read_tar(GzipStream(file, contents), contents)


def _is_header(block: bytes) -> bool:
    digits = block[148:156].strip(b" \0")
    declared = int(digits, 8) if digits and not digits.strip(b"01234567") else -1
    return declared == sum(block) - sum(block[148:156]) + 256
