"""Inflates the gzip layer of a TAR.GZ (RFC 1952) while counting. ``tarreader`` reads from it and from nothing else."""

import zlib
from typing import BinaryIO

from plugyard.gate.archive.contents import Contents, Stop

_CHUNK = 1 << 16
_OUT = 1 << 18


class GzipStream:
    """One gzip stream, read forwards. All it yields is counted, a TAR's own headers too."""

    def __init__(self, file: BinaryIO, contents: Contents) -> None:
        file.seek(0)
        self._file, self._contents = file, contents
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._ready = bytearray()
        self._fed = 0
        self._out = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer only at the stream's end."""
        while len(self._ready) < size and not self._inflater.eof:
            self._inflate()
        out = bytes(self._ready[:size])
        del self._ready[:size]
        return out

    def _inflate(self) -> None:
        findings, limits = self._contents.findings, self._contents.limits
        pending = self._inflater.unconsumed_tail
        if not pending:
            pending = self._file.read(_CHUNK)
            self._fed += len(pending)
        try:
            out = self._inflater.decompress(pending, _OUT)
        except zlib.error:
            findings.add("archive.damaged", "the package", "the gzip stream is broken or its checksum differs")
            raise Stop from None
        if not pending and not out:
            findings.add("archive.truncated", "the package", "the gzip stream ends too early")
            raise Stop
        self._out += len(out)
        if self._out > limits.unpacked_bytes:
            what = f"the TAR with its headers unpacks to more than {limits.unpacked_bytes} bytes"
            findings.add("archive.unpacked-too-large", "the package", what)
            raise Stop
        if self._out > limits.ratio_floor_bytes and self._out > limits.ratio * self._fed:
            what = f"unpacks to more than {limits.ratio} times its packed size"
            findings.add("archive.ratio", "the package", what)
            raise Stop
        self._ready += out

    def finish(self) -> None:
        """The TAR ended: its padding must be zeros and the gzip stream the last thing in the file."""
        findings = self._contents.findings
        while rest := self.read(_CHUNK):
            if any(rest):
                findings.add("archive.trailing-data", "the package", "bytes follow the end of the TAR")
                raise Stop
        after = self._inflater.unused_data + self._file.read(2)
        if after.startswith(b"\x1f\x8b"):
            findings.add("archive.several-streams", "the package", "a second gzip stream follows the first")
        elif after:
            findings.add("archive.trailing-data", "the package", "bytes follow the gzip stream")
