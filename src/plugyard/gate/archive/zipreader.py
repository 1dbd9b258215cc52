"""Reads a ZIP: every byte of the file must belong to exactly one entry or record, and all descriptions must agree.

``open_archive`` calls ``read_zip``. The standard library's ``zipfile`` is not used: it believes the central directory,
skips what lies between entries and takes the last of two entries with one name.
"""

import stat
import struct
import zlib
from typing import BinaryIO

from plugyard.gate.archive.contents import Contents, Sink, SkipEntry, Stop
from plugyard.gate.archive.zipdirectory import (
    Header,
    central_headers,
    find_directory,
    local_header,
    read_at,
)
from plugyard.gate.findings import Findings

_CHUNK = 1 << 16
_OUT = 1 << 18
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_STREAMED, _PATCHED, _UTF8 = 0x0008, 0x0020, 0x0800
_COMPARED_FLAGS = _ENCRYPTED | _STREAMED | _PATCHED | _UTF8
_UNICODE_PATH, _AES = 0x7075, 0x9901
_REPARSE_POINT, _DOS_FOLDER = 0x0400, 0x0010


def read_zip(file: BinaryIO, total: int, contents: Contents) -> None:
    """Read the whole archive into ``contents``; raises ``Stop`` where reading on is impossible or forbidden."""
    directory = find_directory(file, total, contents.findings)
    planned: list[tuple[Header, str | None]] = []
    for header in central_headers(file, directory, contents.findings):
        name = _decoded(header, contents.findings)
        path = contents.enter(name, folder=name.endswith("/")) if name is not None else None
        planned.append((header, path if name is not None and _is_plain(header, name, contents.findings) else None))
    contents.complete = True
    planned.sort(key=lambda one: one[0].offset)
    expected, stopped = 0, False
    for index, (header, path) in enumerate(planned):
        following = planned[index + 1][0].offset if index + 1 < len(planned) else directory.start
        label = path or header.name.decode("utf-8", "replace")
        if header.offset < expected or header.offset >= directory.start:
            contents.findings.add("archive.overlap", label, "begins inside of another entry or of the directory")
            continue
        _complain_of_gap(expected, header.offset, label, contents.findings)
        try:
            end = _read_entry(file, header, path, label, following, contents, stopped=stopped)
        except Stop:
            # The total is met: the structures of the rest are still compared, but nothing more is inflated.
            stopped, end = True, None
        expected = end if end is not None else max(following, header.offset + 1)
    _complain_of_gap(expected, directory.start, "the central directory", contents.findings)


def _complain_of_gap(expected: int, found: int, label: str, findings: Findings) -> None:
    if found > expected:
        rule = "archive.hidden-data" if expected else "archive.leading-data"
        findings.add(rule, label, f"{found - expected} bytes before it belong to no entry")


def _decoded(header: Header, findings: Findings) -> str | None:
    """The entry's name. One reading only: UTF-8, whether it is marked, spelt out in an extra field or neither."""
    try:
        name = header.name.decode("utf-8")
    except UnicodeDecodeError:
        findings.add("archive.path-encoding", header.name.decode("utf-8", "backslashreplace"), "is not UTF-8")
        return None
    spelt = header.extra.get(_UNICODE_PATH)
    if spelt is not None:
        # Layout: a version, the CRC of the plain name, the name as UTF-8 (APPNOTE 4.6.9).
        if spelt[:5] != b"\x01" + struct.pack("<I", zlib.crc32(header.name)) or spelt[5:] != header.name:
            findings.add("archive.headers-disagree", name, "its Unicode path field gives another name")
    elif not header.flags & _UTF8 and not name.isascii():
        findings.add("archive.path-unmarked", name, "has other letters than ASCII and no mark that it is UTF-8")
    return name


def _is_plain(header: Header, name: str, findings: Findings) -> bool:
    """Whether the entry is a readable file or folder; a finding for each reason why not."""
    ok = True
    kind = stat.S_IFMT(header.mode)
    if header.flags & _ENCRYPTED or _AES in header.extra or header.method == 99:
        findings.add("archive.encrypted", name, "is encrypted")
        return False
    if kind == stat.S_IFLNK or header.dos & _REPARSE_POINT:
        findings.add("archive.link", name, "is a symbolic link")
        ok = False
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        findings.add("archive.special-file", name, "is a device, a pipe or a socket")
        ok = False
    is_folder = kind == stat.S_IFDIR or bool(header.dos & _DOS_FOLDER)
    if name.endswith("/"):
        if header.size or kind == stat.S_IFREG:
            findings.add("archive.file-and-folder", name, "is named as a folder and described or filled as a file")
            ok = False
    elif is_folder:
        findings.add("archive.file-and-folder", name, "is named as a file and described as a folder")
        ok = False
    if header.method not in (0, 8) or header.flags & _PATCHED:
        findings.add("archive.compression", name, f"uses the method {header.method}")
        ok = False
    return ok


def _read_entry(
    file: BinaryIO, central: Header, path: str | None, label: str, following: int, contents: Contents, *, stopped: bool
) -> int | None:
    """Compare the two headers and inflate the data between; where the entry ends, or ``None`` where that is unknown."""
    local = local_header(file, central.offset, label, contents.findings)
    if local is None:
        return None
    if not _agree(central, local, label, contents.findings):
        return None
    end = local.end + central.packed
    if end > following:
        rule = "archive.overlap"
        contents.findings.add(rule, label, f"reaches {end - following} bytes into what follows it")
        return None
    if path and not stopped:
        sink = contents.sink(path)
        try:
            if path in contents.folders:
                _drain(file, central, local.end, sink, contents.findings)
            elif _drain(file, central, local.end, sink, contents.findings):
                sink.close()
        except SkipEntry:
            pass
    if not central.flags & _STREAMED:
        return end
    return _after_descriptor(file, central, end, following, label, contents.findings)


def _agree(central: Header, local: Header, label: str, findings: Findings) -> bool:
    streamed = bool(central.flags & _STREAMED)
    differing = [
        word
        for word, one, other in (
            ("names", central.name, local.name),
            ("flags", central.flags & _COMPARED_FLAGS, local.flags & _COMPARED_FLAGS),
            ("methods", central.method, local.method),
            ("checksums", central.crc, local.crc if local.crc or not streamed else central.crc),
            ("packed sizes", central.packed, local.packed if local.packed or not streamed else central.packed),
            ("sizes", central.size, local.size if local.size or not streamed else central.size),
        )
        if one != other
    ]
    if local.extra.get(_UNICODE_PATH) != central.extra.get(_UNICODE_PATH):
        differing.append("Unicode path fields")
    if differing:
        what = f"its {', '.join(differing)} differ between the entry and the central directory"
        findings.add("archive.headers-disagree", label, what)
    return not differing


def _after_descriptor(
    file: BinaryIO, central: Header, at: int, following: int, label: str, findings: Findings
) -> int | None:
    """Where the record behind streamed data ends. It has four forms: with or without a mark, 32 or 64 bits wide."""
    data = read_at(file, at, 24)
    forms = [
        form
        for mark in (b"PK\x07\x08", b"")
        for width in ("II", "QQ")
        if data.startswith(form := mark + struct.pack("<I" + width, central.crc, central.packed, central.size))
    ]
    if not forms:
        findings.add("archive.headers-disagree", label, "the record behind its data differs from the directory")
        return None
    exact = [at + len(form) for form in forms if at + len(form) == following]
    return exact[0] if exact else at + len(forms[0])


def _drain(file: BinaryIO, central: Header, start: int, sink: Sink, findings: Findings) -> bool:
    """Inflate one entry into its sink, counting; whether it held what its headers declare."""
    file.seek(start)
    remaining, crc, fed = central.packed, 0, 0
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if central.method == 8 else None
    pending = b""
    while True:
        if not pending and remaining:
            pending = file.read(min(_CHUNK, remaining))
            remaining -= len(pending)
            fed += len(pending)
            if not pending:
                findings.add("archive.truncated", sink.path, "its data are cut")
                return False
        if inflater is None:
            out, pending = pending, b""
        else:
            try:
                out = inflater.decompress(pending, _OUT)
            except zlib.error:
                findings.add("archive.damaged", sink.path, "its compressed data are broken")
                return False
            pending = inflater.unconsumed_tail
        crc = zlib.crc32(out, crc)
        sink.write(out, packed=fed)
        if inflater is None:
            if not remaining:
                break
        elif inflater.eof:
            if inflater.unused_data or remaining:
                findings.add("archive.hidden-data", sink.path, "bytes follow the end of its compressed data")
                return False
            break
        elif not remaining and not pending and len(out) < _OUT:
            findings.add("archive.truncated", sink.path, "its compressed data end too early")
            return False
    if sink.size != central.size:
        findings.add("archive.damaged", sink.path, f"declares {central.size} bytes and holds {sink.size}")
        return False
    if crc != central.crc:
        findings.add("archive.damaged", sink.path, "its checksum differs")
        return False
    return True
