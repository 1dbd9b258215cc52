"""Namespaces: a kernel in which a zygote and its forks find no process, no network and no file of anybody else.

Entered once by a zygote that has everything loaded, because a network of its own for every environment would cost each
start a millisecond; only a number space is made for every fork, which costs next to nothing and is what makes it blind
for its siblings. Measured in docs/decisions/0014-namespaces-of-the-zygote.md. The steps of the jail hold without.
Source: namespaces(7), user_namespaces(7), pid_namespaces(7), pivot_root(2).
"""

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator

from plugyard.sandbox.jail import procfs
from plugyard.sandbox.jail.config import JailConfig, JailError
from plugyard.sandbox.jail.native import fork_a_sibling, system_call
from plugyard.sandbox.jail.syscalls import number_of

_FLAGS = {
    "user": 0x1000_0000,
    "mount": 0x0002_0000,
    "network": 0x4000_0000,
    "ipc": 0x0800_0000,
    "uts": 0x0400_0000,
    "pid": 0x2000_0000,
}
NAMESPACES = tuple(_FLAGS)
"""All of them, as they are named in a promise."""

_PRIVATE, _RECURSIVE = 1 << 18, 1 << 14
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC = 1, 2, 4, 8
_DETACH = 2
# Where the empty root is mounted before it becomes the root: the one folder that is sure to exist.
_ANY_FOLDER = b"/proc"


class Place:
    """Where a zygote stands once it has entered its namespaces, and from where it forks."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._own_numbers = -1
        if "pid" in self.names:
            self._own_numbers = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def leave_files(self) -> None:
        """Exchange the file system for an empty one that cannot be written. Call when all is loaded. Raises JailError.

        What is open stays open and what is mapped stays mapped; no path leads anywhere any more, here and in all forks.
        """
        if "mount" not in self.names:
            return
        with _told("leaving the files"):
            procfs.keep_open()
            flags = _READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_EXEC
            _call("mount", b"empty", _ANY_FOLDER, b"tmpfs", flags, b"size=4k,nr_inodes=2,mode=555")
            os.chdir(_ANY_FOLDER)
            # The old root lands on top of the new one, and goes from there with all that hangs on it.
            _call("pivot_root", b".", b".")
            _call("umount2", b".", _DETACH)
            os.chdir("/")

    def fork(self) -> int:
        """os.fork, with a child that is the only process it can see or signal: it is number 1, and its parent is 0.

        Raises OSError when there is no child, JailError when this process must not go on.
        """
        if self._own_numbers < 0:
            return os.fork()
        _call("unshare", _FLAGS["pid"])
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                # Numbers are unshared for children only, and only once: the next fork begins here again.
                with _told("returning from a fork"):
                    _call("setns", self._own_numbers, _FLAGS["pid"])
        return pid

    def own_id_for_children(self) -> int:
        """What a child's getppid() answers while this process lives."""
        return os.getpid() if self._own_numbers < 0 else 0


def enter(names: Iterable[str]) -> Place:
    """Move this process, which must have one thread, into namespaces of its own.

    With `pid` the caller goes on in another process, a child of the same parent and the first of its number space, so
    that the kernel kills all that was forked when it dies; the process that called ends here with status 0. Raises
    JailError when one of `names` cannot be had; nothing is undone then, so the process must end.
    """
    wanted = frozenset(names)
    if not wanted:
        return Place(())
    if unknown := wanted - _FLAGS.keys():
        raise JailError(f"namespaces: there are none of {', '.join(sorted(unknown))}")
    flags = sum(_FLAGS[name] for name in wanted)
    with _told("namespaces"):
        if "user" not in wanted:
            _call("unshare", flags)
        elif os.geteuid() == 0:
            _unshare_as_root(flags)
        else:
            _unshare_as_ordinary_user(flags)
        if "mount" in wanted:
            # Mounts of the machine that come later must not come in here, nor go out.
            _call("mount", b"none", b"/", None, _PRIVATE | _RECURSIVE, None)
        if "uts" in wanted:
            socket.sethostname("jail")
        if "user" in wanted:
            _forbid_further_ones()
        # Who unshares its numbers keeps its own, and only what it forks gets new ones.
        if "pid" in wanted and fork_a_sibling(number_of("clone")) != 0:
            os._exit(0)
        return Place(wanted)


def _unshare_as_ordinary_user(flags: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", flags)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _unshare_as_root(flags: int) -> None:
    """Root maps two ids, its own and that of the jail; only somebody outside may write such a map."""
    config, target = JailConfig(), os.getpid()
    waiting, unshared = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(unshared)
        code = 1
        with contextlib.suppress(OSError):
            if os.read(waiting, 1):
                _write(f"/proc/{target}/uid_map", f"0 0 1\n{config.uid} {config.uid} 1")
                _write(f"/proc/{target}/gid_map", f"0 0 1\n{config.gid} {config.gid} 1")
                code = 0
        os._exit(code)
    os.close(waiting)
    try:
        _call("unshare", flags)
        os.write(unshared, b"x")
    finally:
        os.close(unshared)
        _, status = os.waitpid(writer, 0)
    if status != 0:
        raise PermissionError("the ids of the user namespace could not be mapped")


def _forbid_further_ones() -> None:
    """Let nobody in here make user namespaces of their own: each is a way to code of the kernel that only root meets.

    A help where /proc/sys can be written, which containers often forbid; seccomp kills who tries in any case.
    """
    with contextlib.suppress(OSError):
        _write("/proc/sys/user/max_user_namespaces", "0")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _call(name: str, *arguments: int | bytes | None) -> None:
    try:
        system_call(number_of(name), *arguments)
    except OSError as error:
        # With the name of the call, because `plugyard doctor` shows these words.
        raise OSError(error.errno, f"{name}: {os.strerror(error.errno or 0)}") from error


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JailError(f"{what}: {error}") from error
