"""The one door to the C library: `prctl` and raw system calls, for the steps of the jail.

Landlock, seccomp, capset and namespaces have no binding in the standard library. Nothing outside this package touches
ctypes.
"""

import ctypes
import os
import platform
import signal

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]

_CLONE_PARENT = 0x8000

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


def fork_a_sibling(clone: int) -> int:
    """os.fork, but the child is one of this process's own parent. `clone` is that call's number. Raises OSError.

    For a process that holds no lock and has no second thread. Source: clone(2); "Operating System Utilities" in
    Python's C API.
    """
    # Not by `ctypes.CDLL`, which lets go of the interpreter's lock around a call: a fork must hold it.
    python = ctypes.PyDLL(None, use_errno=True)
    python.syscall.restype = ctypes.c_long
    python.PyOS_BeforeFork()
    pid: int = python.syscall(*(ctypes.c_long(word) for word in (clone, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)))
    code = ctypes.get_errno()
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, f"clone: {os.strerror(code)}")
    return pid


def _failure(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")
