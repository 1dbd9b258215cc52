"""A ZIP archive that is written while it is sent: never whole in memory, and never on disk.

``export.py`` makes one. What each file holds is digested as it goes by, for the manifest at the archive's end.
"""

import hashlib
import zipfile
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the archive: its path, its bytes before they were packed, and their SHA-256."""

    path: str
    size: int
    sha256: str


class _Pipe:
    """What ``zipfile`` writes to; without ``seek``, so that it writes sizes behind the data (APPNOTE 4.3.9)."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        """What has come since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


class Archive:
    """Add files one after the other and ``end`` it; both give the bytes to send as they come."""

    def __init__(self) -> None:
        self._pipe = _Pipe()
        self._zip = zipfile.ZipFile(self._pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=3)  # type: ignore[call-overload]
        self.files: list[Written] = []

    async def add(
        self, path: str, pieces: AsyncIterable[bytes], *, packed: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Add a file; one that is ``packed`` already is stored as it is."""
        # A fixed date: the archive says when it was made in its manifest.
        info = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        digest, size = hashlib.sha256(), 0
        with self._zip.open(info, "w", force_zip64=True) as file:
            async for piece in pieces:
                digest.update(piece)
                size += len(piece)
                file.write(piece)
                if ready := self._pipe.taken():
                    yield ready
        self.files.append(Written(path, size, digest.hexdigest()))
        yield self._pipe.taken()

    def end(self) -> bytes:
        """The list of files that every ZIP ends with."""
        self._zip.close()
        return self._pipe.taken()
