"""Step: no page is both writable and executable any more.

Libraries that make callbacks for C (libffi, for ctypes) keep a page that is both. It was filled before the jail closes,
and nothing is added to it after, so it keeps its code and loses the right to be written: native code that got hold of
the process finds no place for instructions of its own, and `seccomp` lets it make none.
"""

from collections.abc import Sequence

from plugyard.sandbox.jail import procfs
from plugyard.sandbox.jail.config import JailConfig
from plugyard.sandbox.jail.native import system_call
from plugyard.sandbox.jail.syscalls import number_of

_READ_AND_EXECUTE = 0x1 | 0x4


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Take the right to write from every page that is executable. Raises OSError."""
    regions = [line.split(maxsplit=2)[:2] for line in procfs.read_own("maps").splitlines()]
    for region, rights in regions:
        if "w" in rights and "x" in rights:
            first, _, last = region.partition("-")
            start, end = int(first, 16), int(last, 16)
            system_call(number_of("mprotect"), start, end - start, _READ_AND_EXECUTE)
