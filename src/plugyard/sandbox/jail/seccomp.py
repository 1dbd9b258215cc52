"""Last step: seccomp, the kernel's own list of what a jailed process may ask of it."""

import ctypes
import errno
import os
from collections.abc import Sequence

from plugyard.sandbox.jail import bpf
from plugyard.sandbox.jail.config import JailConfig
from plugyard.sandbox.jail.native import MACHINE, system_call
from plugyard.sandbox.jail.syscalls import ALLOWED, AUDIT_ARCHITECTURE, FATAL, MAPPING, READING, number_of, numbers

_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
_PROT_EXEC = 0x4


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
        "mmap": (bpf.LacksBits(2, _PROT_EXEC),),
        "mprotect": () if maps_code else (bpf.LacksBits(2, _PROT_EXEC),),
        "tgkill": (bpf.Equals(0, pid),),
        "prlimit64": (bpf.Equals(0, 0),),
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
