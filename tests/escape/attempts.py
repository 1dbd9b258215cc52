"""Native code inside the jail: makes one system call after another, each in a process of its own, and prints what came.

Run by `test_jail.py` as a program, because the jail is for life and pytest has threads.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import sys

from plugyard.sandbox import jail
from plugyard.sandbox.jail.native import prctl, system_call
from plugyard.sandbox.jail.syscalls import number_of

ARGUMENTS: dict[str, tuple[int | bytes | None, ...]] = {
    "open": (b"/etc/passwd", 0),
    "openat": (-100, b"/etc/passwd", 0),
    "openat2": (-100, b"/etc/passwd", None, 24),
    "socket": (2, 1, 0),
    "socketpair": (1, 1, 0, None),
    "kill": (os.getppid(), 0),
    "tgkill": (os.getppid(), os.getppid(), 0),
    "tkill": (os.getppid(), 0),
    "prlimit64": (os.getppid(), 7, None, None),
    "clone": (signal.SIGCHLD, 0),
    "mmap": (0, 4096, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0),
    "memfd_create": (b"x", 0),
    "unlinkat": (-100, b"/tmp/nothing", 0),
    "mkdirat": (-100, b"/tmp/plugyard-escape", 0o700),
    "prctl": (4, 1),
    "setsid": (),
    "getpid": (),
}

NAMES = sys.argv[1:]


def attempt(name: str, pipe: int) -> None:
    if name == "identity":
        jail.close(jail.JailConfig(), [pipe])
        found = [*os.getresuid(), *os.getresgid()] if hasattr(os, "getresuid") else []
        os.write(pipe, json.dumps(found).encode())
    elif name == "write+exec":
        region = mmap.mmap(-1, 4096)
        address = ctypes.addressof(ctypes.c_char.from_buffer(region))
        jail.close(jail.JailConfig(), [pipe])
        report(pipe, "mprotect", (address, 4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
    elif name.startswith(("mapping ", "sealed ")):
        # The jail of a component: before its machine code was mapped, and after.
        kind, call = name.split(" ")
        region = mmap.mmap(-1, 4096)
        address = ctypes.addressof(ctypes.c_char.from_buffer(region))
        config = jail.JailConfig(maps_code=True)
        jail.close(config, [pipe])
        if kind == "sealed":
            jail.seal(config)
        exec_page = (address, 4096, mmap.PROT_READ | mmap.PROT_EXEC)
        report(pipe, call, exec_page if call == "mprotect" else ARGUMENTS.get(call, (0, 0, 0, 0, 0, 0)))
    elif name == "no jail":
        jail.close(jail.JailConfig(enforced=False), [pipe])
        report(pipe, "openat", ARGUMENTS["openat"])
    elif name == "data":
        jail.close(jail.JailConfig(data_bytes=256 << 20), [pipe])
        try:
            mmap.mmap(-1, 512 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            os.write(pipe, b"ok")
        except OSError as error:
            os.write(pipe, errno.errorcode[error.errno].encode())
    elif name == "32 bit":
        thirty_two_bit(pipe)
    elif name.startswith("number "):
        jail.close(jail.JailConfig(), [pipe])
        report(pipe, int(name.split()[1]), (0, 0, 0, 0, 0, 0))
    elif name.startswith("landlock "):
        # What Landlock refuses by itself, with no filter before it.
        steps = [step for step, _, _ in jail.STEPS if step not in ("seccomp", "descriptors")]
        for step, close, _ in jail.STEPS:
            if step in steps:
                close(jail.JailConfig(), [pipe])
        report(pipe, "openat", ARGUMENTS["openat"])
    else:
        jail.close(jail.JailConfig(), [pipe])
        report(pipe, name, ARGUMENTS.get(name, (0, 0, 0, 0, 0, 0)))


def thirty_two_bit(pipe: int) -> None:
    """`int 0x80` from code that was executable before the jail closed: open(2) by its number of 32-bit systems."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b805000000 31db 31c9 31d2 cd80 c3"))
    enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    jail.close(jail.JailConfig(), [pipe])
    os.write(pipe, f"returned {enter()}".encode())


def report(pipe: int, call: str | int, arguments: tuple[int | bytes | None, ...]) -> None:
    number = call if isinstance(call, int) else number_of(call)
    try:
        system_call(number, *arguments)
        os.write(pipe, b"ok")
    except OSError as error:
        os.write(pipe, errno.errorcode[error.errno or 0].encode())


def outcome(name: str) -> str:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        try:
            attempt(name, writable)
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else said


prctl(4, 1)
print(json.dumps({name: outcome(name) for name in NAMES}))
