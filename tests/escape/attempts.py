"""Native code inside the jail: makes one system call after another, each in a process of its own, and prints what came.

    python attempts.py [--without=STEP,...] [--namespaces] [--uid=N] [--facts=JSON] NAME...

Run by the tests as a program, because the jail is for life and pytest has threads. `--without` leaves steps of the jail
out, so that what stands behind them is seen to hold alone; `--namespaces` makes the attempts in those of a zygote;
`--uid` is an ordinary user's. What stands in NAME is a system call, a deed of `deeds.py`, or one of those below.
"""

import argparse
import contextlib
import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import sys
import time
from pathlib import Path

from plugyard.sandbox import jail
from plugyard.sandbox.jail import identity
from plugyard.sandbox.jail.native import prctl, system_call
from plugyard.sandbox.jail.syscalls import number_of

sys.path.insert(0, str(Path(__file__).parent))

import deeds

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
    "shared mmap": (0, 4096, mmap.PROT_READ, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0),
    "memfd_create": (b"x", 0),
    "unlinkat": (-100, b"/tmp/nothing", 0),
    "mkdirat": (-100, b"/tmp/plugyard-escape", 0o700),
    "prctl": (4, 1),
    "setsid": (),
    "getpid": (),
    # Waiting for a word that has another value than the one named is over at once; the lock that passes priority on
    # waits for nobody either.
    "futex": (0, 6, 0, None),
    # The processor time of process 1, which others may look at.
    "clock_gettime": (~1 << 3 | 2, bytes(16)),
    "clock_nanosleep": (~1 << 3 | 2, 0, bytes(16), None),
}

parser = argparse.ArgumentParser()
parser.add_argument("--without", default="")
parser.add_argument("--namespaces", action="store_true")
parser.add_argument("--uid", type=int, default=0)
parser.add_argument("--facts", type=json.loads, default={})
parser.add_argument("names", nargs="*")
OPTIONS = parser.parse_args()
WITHOUT = set(filter(None, OPTIONS.without.split(",")))


def close(config: jail.JailConfig, keep: list[int]) -> None:
    """The jail, or what is left of it."""
    if not WITHOUT:
        jail.close(config, keep)
        return
    assert {name for name, _, _ in jail.STEPS} >= WITHOUT
    for name, step, _ in jail.STEPS:
        if name not in WITHOUT:
            step(config, keep)


def attempt(name: str, channel: socket.socket) -> None:
    config, keep = jail.JailConfig(), [channel.fileno()]
    if name == "write+exec":
        region = mmap.mmap(-1, 4096)
        address = ctypes.addressof(ctypes.c_char.from_buffer(region))
        close(config, keep)
        report(channel, "mprotect", (address, 4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
    elif name.startswith(("mapping ", "sealed ")):
        # The jail of a component: before its machine code was mapped, and after.
        kind, call = name.split(" ", 1)
        region = mmap.mmap(-1, 4096)
        address = ctypes.addressof(ctypes.c_char.from_buffer(region))
        config = jail.JailConfig(maps_code=True)
        close(config, keep)
        if kind == "sealed":
            jail.seal(config)
        exec_page = (address, 4096, mmap.PROT_READ | mmap.PROT_EXEC)
        report(channel, call, exec_page if call == "mprotect" else ARGUMENTS.get(call, (0, 0, 0, 0, 0, 0)))
    elif name == "no jail":
        close(jail.JailConfig(enforced=False), keep)
        report(channel, "openat", ARGUMENTS["openat"])
    elif name in ("data", "shared data"):
        close(jail.JailConfig(data_bytes=256 << 20), keep)
        kind = mmap.MAP_SHARED if name.startswith("shared") else mmap.MAP_PRIVATE
        report(channel, "mmap", (0, 512 << 20, mmap.PROT_READ | mmap.PROT_WRITE, kind | mmap.MAP_ANONYMOUS, -1, 0))
    elif name == "32 bit":
        thirty_two_bit(channel)
    elif name.startswith("number "):
        close(config, keep)
        report(channel, int(name.split()[1]), (0, 0, 0, 0, 0, 0))
    elif name in deeds.DEEDS:
        close(config, keep)
        channel.send(deeds.do(name, OPTIONS.facts).encode())
    else:
        close(config, keep)
        report(channel, name, ARGUMENTS.get(name, (0, 0, 0, 0, 0, 0)))


def thirty_two_bit(channel: socket.socket) -> None:
    """`int 0x80` from code that was executable before the jail closed: open(2) by its number of 32-bit systems."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b805000000 31db 31c9 31d2 cd80 c3"))
    enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    close(jail.JailConfig(), [channel.fileno()])
    channel.send(f"returned {enter()}".encode())


def report(channel: socket.socket, call: str | int, arguments: tuple[int | bytes | None, ...]) -> None:
    # The last word names the call, those before it tell its arguments from others.
    number = call if isinstance(call, int) else number_of(call.split()[-1])
    try:
        system_call(number, *arguments)
        channel.send(b"ok")
    except OSError as error:
        channel.send(errno.errorcode[error.errno or 0].encode())


def outcome(name: str, place: jail.Place) -> str:
    ours, theirs = socket.socketpair()
    pid = place.fork()
    if pid == 0:
        ours.close()
        try:
            attempt(name, theirs)
        finally:
            os._exit(0)
    theirs.close()
    said = b""
    while data := ours.recv(1 << 16):
        said += data
    ours.close()
    _, status = os.waitpid(pid, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else said.decode()


def outcomes(place: jail.Place) -> bytes:
    """All attempts, with a sibling beside them that only waits."""
    sleeper = place.fork()
    if sleeper == 0:
        # Of the same user as those who try, so that it is not this which keeps them from it.
        identity.close(jail.JailConfig(), [])
        time.sleep(60)
        os._exit(0)
    OPTIONS.facts["sibling"] = sleeper
    found = {name: outcome(name, place) for name in OPTIONS.names}
    os.kill(sleeper, signal.SIGKILL)
    os.waitpid(sleeper, 0)
    return json.dumps(found).encode()


def outcomes_in_namespaces() -> bytes:
    told, tell = os.pipe()
    if os.fork() == 0:
        os.close(told)
        place = jail.enter(jail.NAMESPACES)
        place.leave_files()
        os.write(tell, outcomes(place))
        os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        found = pipe.read()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return found


if OPTIONS.uid:
    os.setgroups([])
    os.setresgid(OPTIONS.uid, OPTIONS.uid, OPTIONS.uid)
    os.setresuid(OPTIONS.uid, OPTIONS.uid, OPTIONS.uid)
# As after an exec: a process that changed its user without one may not write the map of its ids.
prctl(4, 1)
OPTIONS.facts["service"] = os.getpid()
sys.stdout.buffer.write(outcomes_in_namespaces() if OPTIONS.namespaces else outcomes(jail.Place(())))
