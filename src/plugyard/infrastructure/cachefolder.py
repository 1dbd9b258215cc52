"""The folder behind `cached.CachedObjects`: files under a cap in bytes, each proven before it is served.

A file holds an object and then its seal, a keyed hash over the object's key and SHA-256, and is renamed into place
when it is whole. A kill at any moment leaves whole files, and halves that the next start deletes; what the system had
not written to the disk by then fails its seal. So nothing is synced, and nothing that is damaged is served.

Everything here blocks; the caller asks in threads.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

import structlog

from plugyard.infrastructure.proofs import Seals, digest_named

_PURPOSE = b"plugyard: objects kept beside the service"
_SEAL_BYTES = 32
_PIECE_BYTES = 256 * 1024
_HALF = ".half-"
_PAUSE_S = 30.0
"""How long a disk that refused a write is left alone."""
log = structlog.get_logger("plugyard")


class CacheFolder:
    """Objects by key; what was used least recently makes room. A folder belongs to one process at a time.

    What goes wrong with the disk costs the keeping, and is never raised; only a `KeptFile` that breaks says so.
    """

    def __init__(self, folder: Path, max_bytes: int, secret: bytes) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._seals = Seals(secret, _PURPOSE)
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()  # the least recently used first
        self._bytes = 0
        self._half_bytes = 0
        self._refused_until = 0.0
        self._take_up()

    @property
    def held_bytes(self) -> int:
        """What the files take, and what halves take or will; never more than the cap."""
        return self._bytes

    @property
    def usable(self) -> bool:
        """Whether it is worth trying to keep something now."""
        return time.monotonic() >= self._refused_until

    def has(self, key: str) -> bool:
        """Whether something lies there; whether it is whole, reading tells."""
        return _name(key) in self._sizes

    def read(self, key: str) -> bytes | None:
        """What is kept under a key, or `None`."""
        name = _name(key)
        if name not in self._sizes:
            return None
        try:
            held = (self._folder / name).read_bytes()
        except OSError as error:
            self._miss(key, error)
            return None
        data, seal = held[:-_SEAL_BYTES], held[-_SEAL_BYTES:]
        if not self._seals.fits(seal, key, hashlib.sha256(data).hexdigest()):
            self._drop_damaged(key)
            return None
        self._touch(name)
        return data

    def opened(self, key: str) -> KeptFile | None:
        """A proven object to read some at a time, or `None`. It stays readable while it makes room for others."""
        name = _name(key)
        if name not in self._sizes:
            return None
        with ExitStack() as unproven:
            try:
                # What was read to prove it is read again, from the system's memory.
                file = unproven.enter_context((self._folder / name).open("rb"))
                size = self._proven(key, file)
            except OSError as error:
                self._miss(key, error)
                return None
            if size is None:
                self._drop_damaged(key)
                return None
            unproven.pop_all()
        self._touch(name)
        return KeptFile(file, size)

    def keep(self, key: str, data: bytes) -> bool:
        """Keep an object; whether that worked."""
        half = self.half(key, len(data))
        return half is not None and half.write(data) and half.finish()

    def half(self, key: str, size: int = 0) -> HalfFile | None:
        """The beginning of a new file, or `None` where the disk or the cap refuses.

        There is room for `size` bytes then, which is as much as is known to come; more makes room as it comes.
        """
        if not self.usable:
            return None
        try:
            descriptor, path = tempfile.mkstemp(dir=self._folder, prefix=_HALF)
        except OSError as error:
            self._refuse(error)
            return None
        # Only then, because making room deletes files.
        half = HalfFile(self, key, os.fdopen(descriptor, "wb", buffering=0), Path(path))
        return half if half.expect(size) else None

    def drop(self, key: str) -> None:
        """Forget a key."""
        self._remove(_name(key))

    # --- for the half-written files ----------------------------------------------------------------------------------

    def _reserve(self, count: int) -> bool:
        """Make room for so many bytes more; False where they are more than fits beside what is being written.

        Nothing goes for what cannot fit.
        """
        while True:
            with self._lock:
                if self._half_bytes + count > self._max_bytes:
                    return False
                if self._bytes + count <= self._max_bytes:
                    self._bytes += count
                    self._half_bytes += count
                    return True
                oldest = next(iter(self._sizes))
            self._remove(oldest)

    def _release(self, count: int) -> None:
        with self._lock:
            self._bytes -= count
            self._half_bytes -= count

    def _place(self, key: str, half: Path, size: int) -> None:
        """Raises `OSError`."""
        name = _name(key)
        with self._lock:
            half.replace(self._folder / name)
            self._bytes -= self._sizes.pop(name, 0)
            self._sizes[name] = size
            self._half_bytes -= size

    def _refuse(self, error: OSError) -> None:
        if self.usable:
            log.warning("the disk refuses the cache of objects; they are read without it", error=str(error))
        self._refused_until = time.monotonic() + _PAUSE_S

    # --- the files ---------------------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Go on with what an earlier process kept."""
        found = []
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.startswith(_HALF):
                        Path(entry.path).unlink(missing_ok=True)
                    elif entry.is_file(follow_symlinks=False):
                        state = entry.stat(follow_symlinks=False)
                        found.append((state.st_mtime_ns, entry.name, state.st_size))
        except OSError as error:
            self._refuse(error)
        for _, name, size in sorted(found):
            self._sizes[name] = size
            self._bytes += size
        self._reserve(0)

    def _proven(self, key: str, file: BinaryIO) -> int | None:
        """The size of the object where its seal fits; `None` elsewhere. Raises `OSError`."""
        size = os.fstat(file.fileno()).st_size - _SEAL_BYTES
        if size < 0:
            return None
        hashed = hashlib.sha256()
        for piece in _first(file, size):
            hashed.update(piece)
        seal = file.read(_SEAL_BYTES)
        file.seek(0)
        return size if self._seals.fits(seal, key, hashed.hexdigest()) else None

    def _miss(self, key: str, error: OSError) -> None:
        """A file that cannot be read now, as where too many are open, may be as good as before."""
        if isinstance(error, FileNotFoundError):
            self.drop(key)
        else:
            log.warning("a file of the cache cannot be read; the object is fetched", key=key, error=str(error))

    def _drop_damaged(self, key: str) -> None:
        log.warning("a damaged file of the cache was deleted", key=key)
        self.drop(key)

    def _touch(self, name: str) -> None:
        with self._lock:
            if name in self._sizes:
                self._sizes.move_to_end(name)
        # The order outlives a restart in the dates of the files.
        with suppress(OSError):
            os.utime(self._folder / name)

    def _remove(self, name: str) -> None:
        with self._lock:
            self._bytes -= self._sizes.pop(name, 0)
            with suppress(OSError):
                (self._folder / name).unlink(missing_ok=True)

    def _seal(self, key: str, digest: str) -> bytes:
        return self._seals.of(key, digest)


class KeptFile:
    """An object on the disk, to read once."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def __enter__(self) -> KeptFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def left(self) -> int:
        """How many bytes were not read yet."""
        return self._left

    def next(self) -> bytes:
        """The next piece, empty at the end. Raises `OSError`, also where the file has become shorter meanwhile."""
        piece = self._file.read(min(self._left, _PIECE_BYTES))
        if self._left and not piece:
            raise OSError(f"{self._left} bytes are missing")
        self._left -= len(piece)
        return piece


class HalfFile:
    """A file that is being written. It ends with `finish` or `abandon`; where one says False, it is gone already."""

    def __init__(self, folder: CacheFolder, key: str, file: BinaryIO, path: Path) -> None:
        self._folder = folder
        self._key = key
        self._file = file
        self._path = path
        self._hashed = hashlib.sha256()
        self._size = 0
        self._reserved = 0

    @property
    def digest(self) -> str:
        """The SHA-256 in hex of what was written so far."""
        return self._hashed.hexdigest()

    def expect(self, count: int) -> bool:
        """Have room for so many bytes more; False where the cap refuses."""
        missing = self._size + count + _SEAL_BYTES - self._reserved
        if missing > 0:
            if not self._folder._reserve(missing):
                self.abandon()
                return False
            self._reserved += missing
        return True

    def write(self, piece: bytes) -> bool:
        """Write some more; False where the disk or the cap refuses."""
        if self.expect(len(piece)) and self._append(piece):
            self._hashed.update(piece)
            return True
        return False

    def finish(self) -> bool:
        """Seal it and put it in its place. A package whose bytes are not those of its key is not kept."""
        if digest_named(self._key) not in (None, self.digest):
            self.abandon()
            return False
        if not self._append(self._folder._seal(self._key, self.digest)):
            return False
        self._folder._release(self._reserved - self._size)
        self._reserved = self._size
        try:
            self._file.close()
            self._folder._place(self._key, self._path, self._size)
        except OSError as error:
            self._folder._refuse(error)
            self.abandon()
            return False
        return True

    def abandon(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._folder._release(self._reserved)
        self._reserved = 0

    def _append(self, data: bytes) -> bool:
        self._size += len(data)
        try:
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._folder._refuse(error)
            self.abandon()
            return False
        return True


def _name(key: str) -> str:
    # A key never becomes a path, whatever it is made of.
    return hashlib.sha256(key.encode()).hexdigest()


def _first(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := file.read(min(size, _PIECE_BYTES))):
        size -= len(piece)
        yield piece
