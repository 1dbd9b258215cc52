"""What native code wants to do once a wall is gone: each deed is tried for real, and says what the kernel said to it.

Used by `attempts.py` behind what is left of the jail. Whatever a deed needs is loaded before.
"""

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

from plugyard.sandbox.jail.native import system_call
from plugyard.sandbox.jail.syscalls import number_of

Facts = dict[str, Any]
_libc = ctypes.CDLL(None, use_errno=True)
_GET_FLAGS, _UP = 0x8913, 0x1
_NEW_USER = 0x1000_0000


def _own_numbers(facts: Facts) -> list[int]:
    return [os.getpid(), os.getppid()]


def _read_a_file(facts: Facts) -> int:
    return len(os.read(os.open("/etc/passwd", os.O_RDONLY), 1))


def _read_proc(facts: Facts) -> int:
    return len(os.read(os.open("/proc/self/status", os.O_RDONLY), 1))


def _list_the_root(facts: Facts) -> list[str]:
    return os.listdir("/")


def _make_a_folder(facts: Facts) -> None:
    os.mkdir(facts["folder"])


def _make_a_folder_here(facts: Facts) -> None:
    os.mkdir("plugyard-escape")


def _take_the_host_name(facts: Facts) -> None:
    system_call(number_of("sethostname"), b"mine", 4)


def _go_up(facts: Facts) -> list[str]:
    os.chdir("../../..")
    return os.listdir(".")


def _see_the_service(facts: Facts) -> None:
    os.kill(facts["service"], 0)


def _see_a_sibling(facts: Facts) -> None:
    os.kill(facts["sibling"], 0)


def _signal_everybody(facts: Facts) -> None:
    os.kill(-1, 0)


def _see_anybody(facts: Facts) -> list[int]:
    """The numbers, other than its own, that the kernel knows a process by."""
    found = []
    for number in range(1, 5000):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            pass
        if number != os.getpid():
            found.append(number)
    return found


def _list_interfaces(facts: Facts) -> dict[str, bool]:
    """Each by name, and whether it is up."""
    found = {}
    with socket.socket() as any_socket:
        for _, name in socket.if_nameindex():
            answer = fcntl.ioctl(any_socket, _GET_FLAGS, struct.pack("16sh14x", name.encode(), 0))
            found[name] = bool(struct.unpack("16xh14x", answer)[0] & _UP)
    return found


def _connect_by_tcp(facts: Facts) -> None:
    with socket.socket() as tcp:
        tcp.connect(("127.0.0.1", facts["port"]))


def _send_by_udp(facts: Facts) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("127.0.0.1", facts["port"]))


def _connect_by_name(facts: Facts) -> None:
    with socket.socket(socket.AF_UNIX) as local:
        local.connect("\0" + facts["name"])


def _find_shared_memory(facts: Facts) -> None:
    if _libc.shmget(facts["key"], 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "shmget")


def _host_name(facts: Facts) -> str:
    return os.uname().nodename


def _make_a_process(facts: Facts) -> None:
    # Not by os.fork, whose work after a fork is not what is tried here.
    if system_call(number_of("clone"), signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


def _become_root_in_a_namespace(facts: Facts) -> None:
    system_call(number_of("unshare"), _NEW_USER)


def _make_a_device(facts: Facts) -> None:
    os.mknod(facts["folder"], 0o600 | 0o020000, os.makedev(1, 3))


def _mount(facts: Facts) -> None:
    system_call(number_of("mount"), b"none", b"/", b"tmpfs", 0, None)


def _change_the_root(facts: Facts) -> None:
    os.chroot("/")


def _set_the_clock(facts: Facts) -> None:
    system_call(number_of("settimeofday"), struct.pack("qq", 0, 0), None)


def _become_root(facts: Facts) -> None:
    os.setresuid(0, 0, 0)


def _abort(facts: Facts) -> None:
    os.abort()


DEEDS: dict[str, Callable[[Facts], Any]] = {
    name.strip("_").replace("_", " "): deed
    for name, deed in list(globals().items())
    if name.startswith("_") and getattr(deed, "__module__", None) == __name__ and deed.__code__.co_argcount == 1
}


def do(name: str, facts: Facts) -> str:
    """What came of it: the kernel's error by name, or what the deed answers as JSON."""
    try:
        return json.dumps(DEEDS[name](facts))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
