"""Reads a TAR.GZ forwards, entry by entry. ``open_archive`` calls ``read_tar``.

The standard library's ``tarfile`` is not used: it stops in silence at what it cannot parse, follows headers that
contradict each other and reads on behind the end.
"""

from dataclasses import dataclass, field

from plugyard.gate.archive.contents import Contents, SkipEntry, Stop
from plugyard.gate.archive.gzipstream import GzipStream
from plugyard.gate.archive.tarheader import BLOCK, TarHeader, parse, pax_records

_CHUNK = 1 << 16
_EXTENDED_BYTES = 1 << 18
_KINDS = {
    b"1": ("archive.link", "is a hard link"),
    b"2": ("archive.link", "is a symbolic link"),
    b"3": ("archive.special-file", "is a character device"),
    b"4": ("archive.special-file", "is a block device"),
    b"6": ("archive.special-file", "is a pipe"),
    b"S": ("archive.sparse", "is a sparse file"),
}


@dataclass(slots=True)
class _Extension:
    """What the headers before an entry say of it."""

    records: dict[str, bytes] = field(default_factory=dict)
    gnu_name: bytes | None = None
    seen: set[bytes] = field(default_factory=set)


def read_tar(stream: GzipStream, contents: Contents) -> None:
    """Read the whole archive into ``contents``; raises ``Stop`` where reading on is impossible or forbidden."""
    findings = contents.findings
    extension, headers = _Extension(), 0
    while True:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            findings.add("archive.truncated", "the package", "the TAR ends without its two empty blocks")
            raise Stop
        if not any(block):
            break
        headers += 1
        if headers > 4 * contents.limits.entries:
            findings.add("archive.too-many-entries", "the package", f"more than {4 * contents.limits.entries} headers")
            raise Stop
        header = parse(block, findings)
        if header.kind in (b"x", b"g", b"L", b"K"):
            _extend(stream, header, extension, contents)
            continue
        _entry(stream, header, extension, contents)
        extension = _Extension()
    contents.complete = True
    if extension.seen:
        findings.add("archive.damaged", "the package", "an extended header of the TAR belongs to no entry")
    second = stream.read(BLOCK)
    if len(second) < BLOCK or any(second):
        rule = "archive.trailing-data" if any(second) else "archive.truncated"
        findings.add(rule, "the package", "the TAR ends with one empty block in place of two")
        raise Stop
    stream.finish()


def _extend(stream: GzipStream, header: TarHeader, extension: _Extension, contents: Contents) -> None:
    findings = contents.findings
    if header.size > _EXTENDED_BYTES:
        what = f"an extended header of the TAR has {header.size} bytes; {_EXTENDED_BYTES} are allowed"
        findings.add("archive.entry-kind", "the package", what)
        raise Stop
    data = stream.read(header.size)
    _skip_padding(stream, header.size, len(data), contents)
    if header.kind == b"g":
        # What git writes is a comment. A path or a size for all entries at once has no use but to deceive.
        if any(key in ("path", "size") or key.startswith("GNU.") for key in pax_records(data, findings)):
            findings.add("archive.entry-kind", "the package", "a global header of the TAR changes paths or sizes")
        return
    if header.kind in extension.seen:
        findings.add("archive.headers-disagree", "the package", "two extended headers of a kind stand before one entry")
    extension.seen.add(header.kind)
    if header.kind == b"x":
        extension.records = pax_records(data, findings)
    elif header.kind == b"L":
        extension.gnu_name = data.removesuffix(b"\0")


def _entry(stream: GzipStream, header: TarHeader, extension: _Extension, contents: Contents) -> None:
    findings, records = contents.findings, extension.records
    raw = header.name
    if extension.gnu_name is not None:
        raw = extension.gnu_name
    if "path" in records:
        if extension.gnu_name is not None and records["path"] != raw:
            label = raw.decode("utf-8", "backslashreplace")
            findings.add("archive.headers-disagree", label, "two extended headers give it two names")
        raw = records["path"]
    size = header.size
    if "size" in records:
        if not records["size"].isdigit() or len(records["size"]) > 15:
            findings.add("archive.damaged", raw.decode("utf-8", "backslashreplace"), "its extended size is no number")
            raise Stop
        if int(records["size"]) != size and size:
            label = raw.decode("utf-8", "backslashreplace")
            findings.add("archive.headers-disagree", label, "two headers give it two sizes")
        size = int(records["size"])
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.decode("utf-8", "backslashreplace")
        findings.add("archive.path-encoding", name, "is not UTF-8")
        contents.entries += 1
        _read_data(stream, None, size, contents)
        return
    # Before POSIX a folder was a file whose name ended in a slash.
    folder = header.kind == b"5" or (header.kind == b"0" and name.endswith("/"))
    path = contents.enter(name, folder=folder)
    refused = _KINDS.get(header.kind)
    if header.sparse or any(key.startswith("GNU.sparse") for key in records):
        refused = _KINDS[b"S"]
    if refused is None and header.kind not in (b"0", b"5"):
        refused = ("archive.entry-kind", f"has the kind {header.kind!r}")
    if refused is not None:
        findings.add(refused[0], name, refused[1])
        # The size of a link is no length of data, and that of an unknown kind might be none: nothing behind is certain.
        if header.kind in b"12346":
            size = 0
        elif header.kind == b"S":
            raise Stop
    if folder and size:
        findings.add("archive.file-and-folder", name, "is a folder and holds data")
    keep = path if refused is None and not folder and path not in contents.folders else None
    _read_data(stream, keep, size, contents)


def _read_data(stream: GzipStream, path: str | None, size: int, contents: Contents) -> None:
    sink = contents.sink(path) if path else None
    remaining, got = size, 0
    while remaining:
        chunk = stream.read(min(_CHUNK, remaining))
        if not chunk:
            break
        remaining -= len(chunk)
        got += len(chunk)
        if sink is not None:
            try:
                sink.write(chunk)
            except SkipEntry:
                sink = None
    _skip_padding(stream, size, got, contents)
    if sink is not None:
        sink.close()


def _skip_padding(stream: GzipStream, size: int, got: int, contents: Contents) -> None:
    padding = -size % BLOCK
    if got < size or len(stream.read(padding)) < padding:
        contents.findings.add("archive.truncated", "the package", "the TAR ends inside of an entry")
        raise Stop
