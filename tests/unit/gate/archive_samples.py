"""For each rule on archives and packages: a package that breaks it, where the finding points, and a harmless twin."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from plugyard.gate.limits import GateLimits
from tests.unit.gate.packing import (
    BASE,
    CODE,
    Entry,
    Member,
    deflated,
    end_record,
    gz,
    manifest,
    pax,
    plain,
    streamed,
    taped,
    tar,
    zip_of,
)

DEFAULT = GateLimits()


@dataclass(frozen=True)
class Sample:
    """``rule`` fires for ``package`` at ``where``; ``twin``, which looks much like it, is accepted."""

    claim: str
    rule: str
    where: str
    package: Callable[[], bytes]
    twin: Callable[[], bytes]
    limits: GateLimits = DEFAULT


def _named(claim: str, rule: str, bad: str, good: str, **more: object) -> list[Sample]:
    """The same rule on a path, in both formats."""
    raw, fine = bad.encode(), good.encode()
    flags = 0x0800
    limits = more.get("limits", DEFAULT)
    assert isinstance(limits, GateLimits)
    where = bad if bad.isprintable() else ""
    return [
        Sample(f"{claim} in a ZIP", rule, where, lambda: plain(Entry(raw, b"x", flags=flags)),
               lambda: plain(Entry(fine, b"x", flags=flags)), limits),
        Sample(f"{claim} in a TAR", rule, where, lambda: taped(pax(("path", bad)), Member(b"short", b"x")),
               lambda: taped(pax(("path", good)), Member(b"short", b"x")), limits),
    ]  # fmt: skip


def _overlapping() -> bytes:
    inner = Entry(b"b.txt", b"inside")
    shell = zip_of(inner)
    inner_bytes = shell[: shell.index(b"PK\x01\x02")]
    outer = Entry(b"a.txt", inner_bytes)
    # The second entry's header lies in the data of the first.
    base = zip_of(Entry(b"plugin.json", manifest()), Entry(b"index.js", CODE), outer)
    return zip_of(
        Entry(b"plugin.json", manifest()),
        Entry(b"index.js", CODE),
        outer,
        replace(inner, central={"offset": base.index(inner_bytes)}),
        Entry(b"z.txt", b""),
    )


def _lost_header() -> bytes:
    package = plain(Entry(b"a.txt", b"x"))
    at = package.rindex(b"PK\x03\x04")
    return package[:at] + b"PK\x03\x05" + package[at + 4 :]


def _second_end() -> bytes:
    return plain(comment=zip_of(Entry(b"other.js", b"evil")))


def _zip64_differs() -> bytes:
    return plain(zip64=True)[:-22] + end_record(9, 0xFFFFFFFF, 0xFFFFFFFF)


def _symlink(target: bytes) -> Entry:
    return Entry(b"link.js", target, mode=0o120777)


def _cut(package: bytes, size: int) -> bytes:
    return package[:-size]


def _text_of(size: int) -> bytes:
    """Text that packs about as well as text does."""
    return b"".join(b"const name%d = %d;\n" % (n, n * 7919 % 10007) for n in range(size // 20))


def _python_made() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plugin.json", manifest())
        archive.writestr("index.js", CODE)
        archive.mkdir("caf\u00e9")
        archive.writestr("caf\u00e9/a.txt", "x")
    return buffer.getvalue()


def _unicode_field(name: bytes, other: bytes) -> bytes:
    body = b"\x01" + struct.pack("<I", zlib.crc32(name)) + other
    return struct.pack("<HH", 0x7075, len(body)) + body


_SMALL = replace(DEFAULT, packed_bytes=600)
_FEW = replace(DEFAULT, entries=3)
_BLANKS = bytes(3 << 20)

SAMPLES: list[Sample] = [
    Sample("a PDF", "archive.unknown-format", "the package", lambda: b"%PDF-1.7 ...", plain),
    Sample("nothing at all", "archive.unknown-format", "the package", lambda: b"", _python_made),
    Sample("a gzip of text", "archive.unknown-format", "the package", lambda: gz(b"just text " * 99), taped),
    Sample("a package over the cap", "archive.too-large", "the package",
           lambda: plain(Entry(b"a.bin", bytes(900))), plain, _SMALL),
    Sample("a ZIP that unpacks to too much", "archive.unpacked-too-large", "the package",
           lambda: plain(Entry(b"a.bin", bytes(9000), method=8)), plain, replace(DEFAULT, unpacked_bytes=5000)),
    Sample("a TAR that unpacks to too much", "archive.unpacked-too-large", "the package",
           lambda: taped(Member(b"a.bin", bytes(9000))), taped, replace(DEFAULT, unpacked_bytes=5000)),
    Sample("a size that is declared small and is large", "archive.unpacked-too-large", "the package",
           lambda: plain(Entry(b"a.bin", bytes(9000), method=8, size=10)), plain,
           replace(DEFAULT, unpacked_bytes=5000)),
    Sample("one large file in a ZIP", "archive.entry-too-large", "a.bin",
           lambda: plain(Entry(b"a.bin", bytes(3000))), lambda: plain(Entry(b"a.bin", bytes(900))),
           replace(DEFAULT, entry_bytes=1000)),
    Sample("one large file in a TAR", "archive.entry-too-large", "a.bin",
           lambda: taped(Member(b"a.bin", bytes(3000))), lambda: taped(Member(b"a.bin", bytes(900))),
           replace(DEFAULT, entry_bytes=1000)),
    Sample("many entries in a ZIP", "archive.too-many-entries", "the package",
           lambda: plain(Entry(b"a"), Entry(b"b")), lambda: plain(Entry(b"a")), _FEW),
    Sample("many entries in a TAR", "archive.too-many-entries", "the package",
           lambda: taped(Member(b"a"), Member(b"b")), lambda: taped(Member(b"a")), _FEW),
    Sample("a bomb of zeros in a ZIP", "archive.ratio", "a.bin",
           lambda: plain(Entry(b"a.bin", _BLANKS, method=8)), lambda: plain(Entry(b"a.bin", bytes(1 << 20), method=8))),
    Sample("a bomb of zeros in a TAR", "archive.ratio", "the package", lambda: taped(Member(b"a.bin", _BLANKS)),
           lambda: taped(Member(b"a.js", _text_of(1 << 21)))),
    Sample("a ZIP without its end", "archive.truncated", "the package", lambda: _cut(plain(), 30), plain),
    Sample("a ZIP entry with cut deflate", "archive.truncated", "a.txt",
           lambda: plain(Entry(b"a.txt", CODE, method=8, packed=deflated(CODE)[:-6])),
           lambda: plain(Entry(b"a.txt", CODE, method=8))),
    Sample("a TAR.GZ without its end", "archive.truncated", "the package", lambda: _cut(taped(), 12), taped),
    Sample("a TAR without its empty blocks", "archive.truncated", "the package", lambda: taped(end=b""), taped),
    Sample("a TAR with one empty block", "archive.truncated", "the package", lambda: taped(end=bytes(512)), taped),
    Sample("a TAR cut inside of an entry", "archive.truncated", "the package",
           lambda: gz(tar(*BASE)[:700]), taped),
    Sample("a wrong checksum", "archive.damaged", "a.txt", lambda: plain(Entry(b"a.txt", b"abc", crc=1)),
           lambda: plain(Entry(b"a.txt", b"abc"))),
    Sample("a declared size that is not met", "archive.damaged", "a.txt",
           lambda: plain(Entry(b"a.txt", b"abc", method=8, size=2)), lambda: plain(Entry(b"a.txt", b"abc", method=8))),
    Sample("broken deflate", "archive.damaged", "a.txt",
           lambda: plain(Entry(b"a.txt", b"abc", method=8, packed=b"\xff" * 9)), plain),
    Sample("a TAR header with a wrong checksum", "archive.damaged", "the package",
           lambda: taped(Member(b"a", checksum=7)), lambda: taped(Member(b"a"))),
    Sample("a TAR size that is no number", "archive.damaged", "a.txt",
           lambda: taped(Member(b"a.txt", size_field=b"-0000000001\0")), lambda: taped(Member(b"a.txt"))),
    Sample("a negative TAR size", "archive.damaged", "a.txt", lambda: taped(Member(b"a.txt", size_field=b"\xff" * 12)),
           lambda: taped(Member(b"a.txt", b"abc", size_field=b"\x80" + bytes(10) + b"\x03"))),
    Sample("broken gzip", "archive.damaged", "the package",
           lambda: taped()[:40] + b"\0\0\0\0" + taped()[44:], taped),
    Sample("a broken extended header", "archive.damaged", "the package",
           lambda: taped(Member(b"x", b"99 path=a\n", b"x"), Member(b"a")),
                  lambda: taped(pax(("path", "b")), Member(b"a"))),
    Sample("an extended header of no entry", "archive.damaged", "the package", lambda: taped(pax(("path", "b"))),
           lambda: taped(pax(("comment", "commit"), kind=b"g"))),
    *(
        Sample(f"{word} that differ between the headers", "archive.headers-disagree", "a.txt",
               lambda change=change: plain(Entry(b"a.txt", b"abc", central=change)),
               lambda: plain(Entry(b"a.txt", b"abc")))
        for word, change in (("Unicode paths", {"extra": _unicode_field(b"a.txt", b"a.txt")}),
                             ("checksums", {"crc": 1}), ("sizes", {"size": 2}), ("flags", {"flags": 0x800}))
    ),
    Sample("a local header with another name", "archive.headers-disagree", "a.txt",
           lambda: plain(Entry(b"a.txt", b"abc", local={"name": b"b.txt"})), lambda: plain(Entry(b"a.txt", b"abc"))),
    Sample("a record behind the data that differs", "archive.headers-disagree", "a.txt",
           lambda: plain(Entry(b"a.txt", b"abc", method=8, flags=8), Entry(b"b.txt", b"")),
           lambda: plain(streamed(Entry(b"a.txt", b"abc", method=8), "marked"), Entry(b"b.txt", b""))),
    Sample("a Unicode path that names another file", "archive.headers-disagree", "a.txt",
           lambda: plain(Entry(b"a.txt", b"x", extra=_unicode_field(b"a.txt", b"b.txt"))),
           lambda: plain(Entry(b"a.txt", b"x", extra=_unicode_field(b"a.txt", b"a.txt")))),
    Sample("a wrong number of entries", "archive.headers-disagree", "the package", lambda: plain(count=1), plain),
    Sample("a ZIP64 end that differs", "archive.headers-disagree", "the package", _zip64_differs,
           lambda: plain(zip64=True)),
    Sample("two names for one TAR entry", "archive.headers-disagree", "b.txt",
           lambda: taped(Member(b"L", b"b.txt\0", b"L"), pax(("path", "c.txt")), Member(b"a.txt")),
           lambda: taped(Member(b"L", b"b.txt\0", b"L"), pax(("path", "b.txt")), Member(b"a.txt"))),
    Sample("one key twice in an extended header", "archive.headers-disagree", "the package",
           lambda: taped(pax(("path", "b"), ("path", "c")), Member(b"a")),
                  lambda: taped(pax(("path", "b")), Member(b"a"))),
    Sample("a size in the extended header that is no number", "archive.damaged", "a.txt",
           lambda: taped(pax(("size", "-3")), Member(b"a.txt", b"abc")),
           lambda: taped(pax(("size", "3")), Member(b"a.txt", b"abc"))),
    Sample("two sizes for one TAR entry", "archive.headers-disagree", "a.txt",
           lambda: taped(pax(("size", "3")), Member(b"a.txt", b"abcd")),
           lambda: taped(pax(("size", "4")), Member(b"a.txt", b"abcd"))),
    Sample("two extended headers of a kind", "archive.headers-disagree", "the package",
           lambda: taped(pax(("path", "b")), pax(("path", "c")), Member(b"a")),
           lambda: taped(pax(("path", "b")), Member(b"a"), pax(("path", "c")), Member(b"a"))),
    Sample("a huge extended header", "archive.entry-kind", "the package",
           lambda: taped(pax(("comment", "x" * 300_000)), Member(b"a")),
           lambda: taped(pax(("comment", "x" * 3_000)), Member(b"a"))),
    Sample("extended headers without end", "archive.too-many-entries", "the package",
           lambda: taped(*[pax(("comment", "x"), kind=b"g")] * 20), taped, _FEW),
    Sample("a cut extra field", "archive.damaged", "a.txt",
           lambda: plain(Entry(b"a.txt", b"x", extra=b"\x55\x54\x09\x00\x01")),
           lambda: plain(Entry(b"a.txt", b"x", extra=b"\x55\x54\x01\x00\x01"))),
    Sample("a ZIP64 size that is not there", "archive.damaged", "a.txt",
           lambda: plain(Entry(b"a.txt", b"x", central={"size": 0xFFFFFFFF})),
           lambda: plain(Entry(b"a.txt", b"x", extra=struct.pack("<HHQQ", 1, 16, 1, 1),
                               central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
                               local={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}))),
    Sample("a directory of something else", "archive.damaged", "the package",
           lambda: plain().replace(b"PK\x01\x02", b"PK\x01\x03"), plain),
    Sample("two entries at one place", "archive.overlap", "b.txt",
           lambda: plain(Entry(b"a.txt", b"x"), Entry(b"b.txt", b"x", central={"offset": 0})),
           lambda: plain(Entry(b"a.txt", b"x"), Entry(b"b.txt", b"x"))),
    Sample("an entry that begins nowhere", "archive.damaged", "a.txt", _lost_header, plain),
    Sample("overlapping entries", "archive.overlap", "a.txt", _overlapping,
           lambda: plain(Entry(b"a.txt", b"inside"), Entry(b"b.txt", b"inside"))),
    Sample("a program before the ZIP", "archive.leading-data", "the package", lambda: b"#!/bin/sh\n" + plain(), plain),
    Sample("bytes before the first entry", "archive.leading-data", "plugin.json",
           lambda: zip_of(Entry(b"plugin.json", manifest(), before=b"PK\x03\x04junk"), Entry(b"index.js", CODE)),
           plain),
    Sample("bytes between entries", "archive.hidden-data", "a.txt",
           lambda: plain(Entry(b"a.txt", b"x", before=b"hidden")),
           lambda: plain(Entry(b"a.txt", b"x"))),
    Sample("bytes before the directory", "archive.hidden-data", "the central directory", lambda: plain(gap=b"hidden"),
           plain),
    Sample("bytes behind the deflate stream of an entry", "archive.hidden-data", "a.txt",
           lambda: plain(Entry(b"a.txt", CODE, method=8, packed=deflated(CODE) + b"hidden")),
           lambda: plain(Entry(b"a.txt", CODE, method=8))),
    Sample("bytes behind a ZIP", "archive.trailing-data", "the package", lambda: plain() + b"more",
           lambda: plain(Entry(b"nested.zip", plain()))),
    Sample("bytes behind a TAR", "archive.trailing-data", "the package", lambda: taped(end=bytes(1024) + b"more" * 200),
           lambda: taped(end=bytes(10240))),
    Sample("bytes behind the gzip stream", "archive.trailing-data", "the package", lambda: taped() + b"more", taped),
    Sample("a second gzip stream", "archive.several-streams", "the package", lambda: taped() + gz(b"x"), taped),
    Sample("two ends", "archive.ambiguous-end", "the package", _second_end, lambda: plain(comment=b"from a commit")),
    Sample("one part of several", "archive.several-disks", "the package", lambda: plain(disk=1), plain),
    Sample("an entry on another part", "archive.several-disks", "a.txt",
           lambda: plain(Entry(b"a.txt", b"x", central={"disk": 3})), plain),
    Sample("an encrypted entry", "archive.encrypted", "a.txt", lambda: plain(Entry(b"a.txt", b"x", flags=1)),
           lambda: plain(Entry(b"a.txt", b"x"))),
    Sample("an entry encrypted with AES", "archive.encrypted", "a.txt", lambda: plain(Entry(b"a.txt", b"x", method=99)),
           plain),
    Sample("an entry packed with bzip2", "archive.compression", "a.txt",
           lambda: plain(Entry(b"a.txt", b"x", method=12)),
           lambda: plain(Entry(b"a.txt", b"x", method=8))),
    Sample("a symbolic link in a ZIP", "archive.link", "link.js", lambda: plain(_symlink(b"/etc/passwd")),
           lambda: plain(Entry(b"link.js", b"/etc/passwd"))),
    Sample("a reparse point", "archive.link", "link.js", lambda: plain(Entry(b"link.js", b"x", mode=0, dos=0x400)),
           lambda: plain(Entry(b"link.js", b"x", mode=0, dos=0x20))),
    Sample("a symbolic link in a TAR", "archive.link", "a", lambda: taped(Member(b"a", kind=b"2", link=b"/etc/passwd")),
           lambda: taped(Member(b"a"))),
    Sample("a hard link", "archive.link", "a", lambda: taped(Member(b"a", kind=b"1", link=b"index.js")),
           lambda: taped(Member(b"a"))),
    Sample("a device in a ZIP", "archive.special-file", "null", lambda: plain(Entry(b"null", mode=0o020666)),
           lambda: plain(Entry(b"null"))),
    *(
        Sample(f"a TAR entry of kind {kind!r}", "archive.special-file", "a",
               lambda kind=kind: taped(Member(b"a", kind=kind)),
               lambda: taped(Member(b"a")))
        for kind in (b"3", b"4", b"6")
    ),
    Sample("a sparse file of GNU tar", "archive.sparse", "a", lambda: taped(Member(b"a", kind=b"S")),
           lambda: taped(Member(b"a"))),
    Sample("a sparse file of pax", "archive.sparse", "a", lambda: taped(pax(("GNU.sparse.major", "1")), Member(b"a")),
           lambda: taped(pax(("mtime", "1.5")), Member(b"a"))),
    Sample("a TAR entry of an unknown kind", "archive.entry-kind", "a", lambda: taped(Member(b"a", kind=b"V")),
           lambda: taped(Member(b"a"))),
    Sample("a path for all entries", "archive.entry-kind", "the package",
           lambda: taped(pax(("path", "b"), kind=b"g"), Member(b"a")), lambda: taped(pax(("comment", "b"), kind=b"g"))),
    *_named("a path that climbs out", "archive.path-traversal", "lib/../../evil.js", "lib/..evil.js"),
    *_named("a path that climbs out by backslashes", "archive.path-traversal", "lib\\..\\evil.js", "lib/evil..js"),
    *_named("an absolute path", "archive.path-absolute", "/etc/passwd", "etc/passwd"),
    *_named("a backslash", "archive.path-windows", "lib\\a.js", "lib/a.js"),
    *_named("a drive letter", "archive.path-windows", "C:/a.js", "C/a.js"),
    *_named("a stream", "archive.path-windows", "a.js:hidden", "a.js.hidden"),
    *_named("a device name", "archive.path-reserved", "lib/con.js", "lib/icon.js"),
    *_named("a device name with a superscript", "archive.path-reserved", "com\u00b9", "com"),
    *_named("a trailing dot", "archive.path-trailing", "lib/a.", "lib/.a"),
    *_named("a trailing blank", "archive.path-trailing", "lib /a", "l ib/a"),
    *_named("a control character", "archive.path-control", "a\tb.js", "ab.js"),
    *_named("a reversed name", "archive.path-control", "a\u202esj.exe", "a.js.exe"),
    *_named("a long path", "archive.path-length", "a" * 41, "a" * 40, limits=replace(DEFAULT, path_bytes=40)),
    *_named("a deep path", "archive.path-depth", "a/b/c/d", "a/b/c", limits=replace(DEFAULT, path_depth=3)),
    *_named("an empty part", "archive.path-segments", "a//b.js", "a/b.js"),
    *_named("a dot inside", "archive.path-segments", "a/./b.js", "./a/b.js"),
    *_named("another case", "archive.collision", "INDEX.js", "INDEX2.js"),
    Sample("a NUL in a name", "archive.path-control", "a.js\\x00.png", lambda: plain(Entry(b"a.js\0.png", b"x")),
           lambda: plain(Entry(b"a.js.png", b"x"))),
    Sample("a name that is not UTF-8 in a ZIP", "archive.path-encoding", "caf\\xe9",
           lambda: plain(Entry(b"caf\xe9", b"x")),
           lambda: plain(Entry("caf\u00e9".encode(), b"x", flags=0x800))),
    Sample("a name that is not UTF-8 in a TAR", "archive.path-encoding", "caf\\xe9",
           lambda: taped(Member(b"caf\xe9", b"x")),
           lambda: taped(Member("caf\u00e9".encode(), b"x"))),
    Sample("UTF-8 without its mark", "archive.path-unmarked", "caf\u00e9",
           lambda: plain(Entry("caf\u00e9".encode(), b"x")),
           _python_made),
    Sample("a path twice in a ZIP", "archive.duplicate", "index.js", lambda: plain(Entry(b"index.js", b"evil")), plain),
    Sample("a path twice in a TAR", "archive.duplicate", "index.js", lambda: taped(Member(b"./index.js", b"evil")),
           lambda: taped(Member(b"lib/", kind=b"5"), Member(b"lib/", kind=b"5"))),
    Sample("one name in two Unicode forms", "archive.collision", "cafe\u0301",
           lambda: plain(Entry("caf\u00e9".encode(), flags=0x800), Entry("cafe\u0301".encode(), flags=0x800)),
           lambda: plain(Entry("caf\u00e9".encode(), flags=0x800), Entry(b"cafe"))),
    Sample("folders that differ in case", "archive.collision", "LIB",
           lambda: plain(Entry(b"lib/a.js"), Entry(b"LIB/b.js")),
                  lambda: plain(Entry(b"lib/a.js"), Entry(b"lib/b.js"))),
    Sample("a file that is also a folder", "archive.file-and-folder", "a",
           lambda: plain(Entry(b"a", b"x"), Entry(b"a/b", b"x")),
           lambda: plain(Entry(b"a", b"x"), Entry(b"ab", b"x"))),
    Sample("a folder that is also a file in a TAR", "archive.file-and-folder", "a",
           lambda: taped(Member(b"a/b", b"x"), Member(b"a", b"x")),
                  lambda: taped(Member(b"a/", kind=b"5"), Member(b"a/b"))),
    Sample("a folder with content", "archive.file-and-folder", "a/", lambda: plain(Entry(b"a/", b"x", mode=0o040755)),
           lambda: plain(Entry(b"a/", mode=0o040755))),
    Sample("an archive comment", "archive.comment", "the package", lambda: plain(comment=b"from a commit"), plain),
    Sample("a folder around everything", "package.wrapped", "my-plugin",
           lambda: zip_of(Entry(b"my-plugin/plugin.json", manifest()), Entry(b"my-plugin/index.js", CODE)), plain),
    Sample("no file at all", "package.empty", "the package", zip_of, plain),
    Sample("a folder of macOS", "package.debris", "__MACOSX",
           lambda: plain(Entry(b"__MACOSX/._index.js", b"x")), plain),
    Sample("a file of macOS", "package.debris", "lib/.DS_Store", lambda: plain(Entry(b"lib/.DS_Store", b"x")), plain),
    Sample("Latin-1 where text is promised", "bundle.not-text", "lib/a.js",
           lambda: plain(Entry(b"lib/a.js", b"// caf\xe9")),
           lambda: plain(Entry(b"lib/a.bin", b"// caf\xe9"))),
    Sample("a NUL in code", "bundle.not-text", "index.js", lambda: plain(code=b"a\0b"), plain),
    Sample("too much text", "bundle.too-large", "lib/big.js", lambda: plain(Entry(b"lib/big.js", _text_of(3000))),
           lambda: plain(Entry(b"lib/big.wasm", _text_of(3000))), replace(DEFAULT, bundle_bytes=2000)),
]  # fmt: skip
