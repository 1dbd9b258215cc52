"""What a process reads of itself in /proc on its way into the jail, also when the file system is already out of reach.

`namespaces` takes the files away from a zygote once and for all its forks; a fork still looks at its own pages and at
its own memory before it closes its jail, and may map a file once more that is open already. The folder that is kept
open for that goes with all other descriptors.
"""

import contextlib
import os
from collections.abc import Iterator

_PROC = "/proc"
_folder: int | None = None


def keep_open() -> None:
    """Hold on to /proc before the files go. Raises OSError."""
    global _folder
    _folder = os.open(_PROC, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def read_own(name: str) -> str:
    """The text of /proc/self/`name`. Raises OSError."""
    path = f"self/{name}" if _folder is not None else f"{_PROC}/self/{name}"
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=_folder)
    try:
        parts = []
        # Not by `open`: text files look their codec up, and an import finds no file any more.
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode(errors="replace")


def open_files() -> frozenset[int]:
    """The numbers of this process's open descriptors. Raises OSError."""
    path = "self/fd" if _folder is not None else f"{_PROC}/self/fd"
    listing = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=_folder)
    try:
        found = [int(name) for name in os.listdir(listing)]
    finally:
        os.close(listing)
    # The folder itself was open while it was read, under two numbers.
    return frozenset(number for number in found if _is_open(number))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def path_of(descriptor: int) -> Iterator[str]:
    """A path that opens once more, to read, what is open under this number; it leads there within the block alone."""
    if _folder is None:
        yield f"{_PROC}/self/fd/{descriptor}"
        return
    os.fchdir(_folder)
    try:
        yield f"self/fd/{descriptor}"
    finally:
        os.chdir("/")
