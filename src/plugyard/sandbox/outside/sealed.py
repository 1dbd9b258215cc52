"""A folder of what jailed processes made and the service believes again after a restart: each file under a seal.

`components.py` keeps machine code in one, `preparation.py` prepared bundles in another. A file is taken back only when
its seal, a keyed hash over its name and its bytes, shows that a holder of this data folder's key wrote it under this
very name. One that fails is deleted and made again, so damage costs time and nothing else.
"""

import hmac
import os
import tempfile
from contextlib import suppress
from pathlib import Path

_SEAL_BYTES = 32
_HALF = ".half-"


class SealedFolder:
    """Files by name; when they are more than `max_bytes`, the least recently used go first.

    `secret` must stay with the data. `purpose` keeps what one folder sealed from being taken for another's.
    """

    def __init__(self, folder: Path, secret: bytes, purpose: bytes, max_bytes: int) -> None:
        self._folder = folder
        self._key = hmac.digest(secret, purpose, "sha256")
        self._max_bytes = max_bytes

    def read(self, name: str) -> bytes | None:
        """What was written under the name, or None where there is nothing that this service wrote."""
        path = self._folder / name
        try:
            data = path.read_bytes()
        except OSError:
            return None
        seal, content = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        if not content or not hmac.compare_digest(seal, self._seal(name, content)):
            with suppress(OSError):
                path.unlink()
            return None
        # When it was last used decides which file makes room for others.
        with suppress(OSError):
            os.utime(path)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Keep something. A folder that cannot be written costs the making of it later, and nothing else."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, half = tempfile.mkstemp(dir=self._folder, prefix=_HALF)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(self._seal(name, content))
                    file.write(content)
                Path(half).replace(self._folder / name)
            except BaseException:
                Path(half).unlink(missing_ok=True)
                raise
            self._make_room()

    def clear(self, keep: tuple[str, ...]) -> None:
        """Delete every file whose name ends with none of `keep`, what a killed service left half written included."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name.startswith(_HALF) or not path.name.endswith(keep):
                    path.unlink(missing_ok=True)

    def _seal(self, name: str, content: bytes) -> bytes:
        return hmac.digest(self._key, name.encode() + b"\0" + content, "sha256")

    def _make_room(self) -> None:
        files = sorted(
            ((found.st_mtime, found.st_size, path) for path in self._folder.iterdir() if (found := path.stat())),
            key=lambda one: one[0],
        )
        total = sum(size for _, size, _ in files)
        for _, size, path in files[:-1]:
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size
