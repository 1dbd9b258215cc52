"""The one door to the C library: `prctl` and raw system calls, for the steps of the jail.

Landlock, seccomp and capset have no binding in the standard library. Nothing outside this package touches ctypes.
"""

import ctypes
import os
import platform

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]

MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    """Call prctl(2); raises OSError with the kernel's errno."""
    result: int = _libc.prctl(option, first, second, 0, 0)
    if result < 0:
        raise _failure(f"prctl({option})")
    return result


def system_call(number: int, *arguments: int | bytes | ctypes.Structure | None) -> int:
    """Make one raw system call; structures go by address. Raises OSError with the kernel's errno."""
    prepared: list[object] = []
    for argument in arguments:
        if isinstance(argument, int):
            prepared.append(ctypes.c_long(argument))
        elif isinstance(argument, bytes):
            prepared.append(ctypes.c_char_p(argument))
        elif argument is None:
            prepared.append(ctypes.c_void_p(None))
        else:
            prepared.append(ctypes.byref(argument))
    result: int = _libc.syscall(ctypes.c_long(number), *prepared)
    if result < 0:
        raise _failure(f"system call {number}")
    return result


def _failure(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")
