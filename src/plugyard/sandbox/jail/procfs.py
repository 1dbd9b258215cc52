"""What a process reads of itself in /proc on its way into the jail, also when the file system is already out of reach.

`namespaces` takes the files away from a zygote once and for all its forks; a fork still looks at its own pages and at
its own memory before it closes its jail. The folder that is kept open for that goes with all other descriptors.
"""

import os

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
