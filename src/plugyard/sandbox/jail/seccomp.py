"""Last step: seccomp, the kernel's own list of what a jailed process may ask of it."""

import ctypes
import errno
import os
import resource
from collections.abc import Sequence

from plugyard.sandbox.jail import bpf
from plugyard.sandbox.jail.config import JailConfig
from plugyard.sandbox.jail.native import MACHINE, system_call
from plugyard.sandbox.jail.syscalls import ALLOWED, AUDIT_ARCHITECTURE, FATAL, MAPPING, READING, number_of, numbers

_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
_PROT_EXEC = 0x4
_MAP_SHARED = 0x1
# Waiting and waking, with and without a bit set, by either clock: not the operations that pass priority on or move
# waiters between locks, which nothing here uses and which have been a way into the kernel before.
_WAITING = tuple(operation | private for operation in (0, 1, 9, 9 | 256, 10) for private in (0, 128))
# Clocks of the machine and of this process; other processes' are numbered below 0.
_CLOCKS = tuple(range(12))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class _Action(ctypes.Structure):
    _fields_ = (("value", ctypes.c_uint32),)


def available() -> bool:
    """Whether this kernel takes filters that kill a whole process (Linux 4.14 and later)."""
    if MACHINE not in AUDIT_ARCHITECTURE:
        return False
    try:
        system_call(number_of("seccomp"), _GET_ACTION_AVAILABLE, 0, _Action(bpf.KILL_PROCESS))
    except OSError:
        return False
    return True


def filter_program(pid: int, *, reads_files: bool = False, maps_code: bool = False) -> list[bpf.Instruction]:
    """The filter of the process `pid`."""
    conditions: dict[str, tuple[bpf.Condition, ...]] = {
        # All code of the guest was compiled and mapped before the jail closed; nothing new becomes executable.
        # Shared memory is none of a process's own: RLIMIT_DATA would not count it.
        "mmap": (bpf.LacksBits(2, _PROT_EXEC), bpf.LacksBits(3, _MAP_SHARED)),
        "mprotect": () if maps_code else (bpf.LacksBits(2, _PROT_EXEC),),
        "tgkill": (bpf.Equals(0, pid),),
        "prlimit64": (bpf.Equals(0, 0), bpf.Equals(1, resource.RLIMIT_DATA)),
        "futex": (bpf.OneOf(1, _WAITING),),
        "clock_gettime": (bpf.OneOf(0, _CLOCKS),),
        "clock_nanosleep": (bpf.OneOf(0, _CLOCKS),),
    }
    table = {**ALLOWED, **(READING if reads_files else {}), **(MAPPING if maps_code else {})}
    allowed = {number: conditions.get(name, ()) for name, number in numbers(table).items()}
    return bpf.program(AUDIT_ARCHITECTURE[MACHINE], allowed, tuple(numbers(FATAL).values()), errno.EPERM)


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Install the filter; raises OSError where the kernel or the machine has none."""
    if MACHINE not in AUDIT_ARCHITECTURE:
        raise OSError(f"no system call table is known for {MACHINE}")
    _install(filter_program(os.getpid(), reads_files=config.reads_files, maps_code=config.maps_code))


def seal() -> None:
    """Lay the strict filter over one that `maps_code` loosened; the stricter of two holds. Raises OSError."""
    _install(filter_program(os.getpid()))


def _install(program: list[bpf.Instruction]) -> None:
    code = bpf.encode(program)
    system_call(number_of("seccomp"), _SET_MODE_FILTER, 0, _Program(len(code) // 8, code))
