"""Wall 2 by itself: native code that holds the whole process still reaches nothing."""

import json
import os
import platform
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from plugyard.sandbox import jail
from plugyard.sandbox.jail.syscalls import ALLOWED, FATAL_BY_PURPOSE, MAPPING, READING

pytestmark = pytest.mark.skipif(
    not jail.probe().seccomp, reason="this kernel has no seccomp, so nothing executes at all"
)

ORDINARY = 61001
INTEL = platform.machine() == "x86_64"
# What is refused and lets the process go on: honest libraries try these too, and do without.
REFUSED_BY_CLASS = {
    "files": [
        *(["open"] if INTEL else []),
        *("openat", "openat2", "unlinkat", "mkdirat", "getdents64", "readlinkat", "statx", "dup", "pipe2", "ioctl"),
        *("memfd_create", "inotify_init1", "lseek", "pread64", "read", "write"),
    ],
    "sockets": ["socket", "socketpair", "sendmsg", "recvmsg", "eventfd2", "epoll_create1"],
    "processes": ["clone", "clone3", "setsid", "prctl", "prlimit64"],
    "signals": ["tgkill"],
    "memory and code": ["mmap", "shared mmap", "futex"],
    "the machine": ["uname", "sysinfo", "clock_gettime", "clock_nanosleep", "seccomp"],
}
REFUSED = [name for names in REFUSED_BY_CLASS.values() for name in names]
KILLED_BY_CLASS = {
    purpose: [name for name, (intel, arm) in table.items() if (intel if INTEL else arm) is not None]
    for purpose, table in FATAL_BY_PURPOSE.items()
}
KILLED = [name for names in KILLED_BY_CLASS.values() for name in names]


def attempts(
    *names: str, without: str = "", namespaces: bool = False, uid: int = 0, **facts: int | str
) -> dict[str, str]:
    script = Path(__file__).with_name("attempts.py")
    options = [f"--without={without}", f"--uid={uid}", f"--facts={json.dumps(facts)}"]
    options += ["--namespaces"] if namespaces else []
    command = [sys.executable, "-W", "error", str(script), *options, "--", *names]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("names", REFUSED_BY_CLASS.values(), ids=REFUSED_BY_CLASS.keys())
def test_a_class_of_system_calls_is_refused(names: list[str]) -> None:
    assert attempts(*names) == dict.fromkeys(names, "EPERM")


@pytest.mark.parametrize("names", KILLED_BY_CLASS.values(), ids=KILLED_BY_CLASS.keys())
def test_a_class_of_calls_that_no_guest_makes_ends_the_process(names: list[str]) -> None:
    assert attempts(*names) == dict.fromkeys(names, "SIGSYS")


@pytest.mark.parametrize("names", [REFUSED, KILLED], ids=["refused", "killed"])
def test_the_filter_alone_stops_them_all(names: list[str]) -> None:
    others = "pages,session,priority,identity,limits,parent,landlock"
    assert attempts(*names, without=others) == dict.fromkeys(names, "EPERM" if names is REFUSED else "SIGSYS")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user to try it")
def test_the_filter_of_an_ordinary_user_is_the_same() -> None:
    names = [*REFUSED, *KILLED]
    found = attempts(*names, uid=ORDINARY)
    assert found == dict.fromkeys(REFUSED, "EPERM") | dict.fromkeys(KILLED, "SIGSYS")


def test_memory_never_becomes_writable_and_executable() -> None:
    assert attempts("write+exec") == {"write+exec": "EPERM"}


def test_a_component_may_map_its_code_until_it_is_sealed_and_nothing_else() -> None:
    assert attempts("mapping mprotect", "sealed mprotect") == {"mapping mprotect": "ok", "sealed mprotect": "EPERM"}
    refused = [f"mapping {name}" for name in REFUSED if name != "seccomp"]
    assert attempts(*refused) == dict.fromkeys(refused, "EPERM")
    sealed = [f"sealed {name}" for name in REFUSED]
    assert attempts(*sealed) == dict.fromkeys(sealed, "EPERM")
    fatal = [f"{kind} {name}" for kind in ("mapping", "sealed") for name in KILLED]
    assert attempts(*fatal) == dict.fromkeys(fatal, "SIGSYS")


def test_what_a_guest_needs_is_allowed() -> None:
    assert attempts("getpid", "sched_yield") == {"getpid": "ok", "sched_yield": "ok"}


def test_private_memory_is_capped_by_the_kernel() -> None:
    assert attempts("data") == {"data": "ENOMEM"}


def test_shared_memory_is_no_way_around_that_cap() -> None:
    assert attempts("shared data") == {"shared data": "EPERM"}
    # The cap itself does not count it.
    assert attempts("shared data", without="seccomp") == {"shared data": "ok"}


def test_every_allowed_call_has_its_reason() -> None:
    for table in (ALLOWED, READING, MAPPING):
        assert all(len(reason.split()) >= 1 for _, _, reason in table.values())
        assert not set(table) & set(KILLED)


@pytest.mark.skipif(jail.probe().landlock_abi == 0, reason="this kernel has no Landlock")
def test_landlock_alone_refuses_files() -> None:
    tried = ["read a file", "read proc", "make a folder"]
    facts = {"folder": f"/tmp/plugyard-{uuid.uuid4().hex}"}
    assert attempts(*tried, without="seccomp", **facts) == dict.fromkeys(tried, "EACCES")
    # Without it, they are there to be read: it is this wall that held.
    found = attempts("read a file", "read proc", without="seccomp,landlock")
    assert found == {"read a file": "1", "read proc": "1"}


@pytest.mark.skipif(jail.probe().landlock_abi < 6, reason="this kernel's Landlock knows files and TCP at most")
def test_landlock_alone_refuses_tcp_names_and_siblings() -> None:
    expected = {"connect by tcp": "EACCES", "connect by name": "EPERM", "see a sibling": "EPERM"}
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as named:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        name = f"plugyard-{uuid.uuid4().hex}"
        named.bind(f"\0{name}")
        named.listen()
        facts = {"port": tcp.getsockname()[1], "name": name}
        assert attempts(*expected, without="seccomp", **facts) == expected
        assert attempts(*expected, without="seccomp,landlock", **facts) == dict.fromkeys(expected, "null")


def test_limits_and_the_lost_identity_hold_alone() -> None:
    expected = {
        "make a process": "EAGAIN",
        "mount": "EPERM",
        "change the root": "EPERM",
        "set the clock": "EPERM",
        "become root": "EPERM",
    }
    assert attempts(*expected, without="seccomp,landlock") == expected


def test_without_the_jail_only_the_operator_has_said_so() -> None:
    assert attempts("no jail") == {"no jail": "ok"}


def test_a_step_that_fails_lets_nothing_execute() -> None:
    program = (
        "import sys\n"
        "from plugyard.sandbox import jail\n"
        "from plugyard.sandbox.jail import seccomp\n"
        "seccomp.MACHINE = 'pdp11'\n"
        "try:\n    jail.close(jail.JailConfig(), [1])\n"
        "except jail.JailError as error:\n    import os; os.write(1, str(error).encode())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"seccomp: no system call table is known for pdp11"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has an identity to give up")
def test_root_is_given_up() -> None:
    program = (
        "import os\n"
        "from plugyard.sandbox.jail import JailConfig, identity\n"
        "identity.close(JailConfig(), [])\n"
        "print(os.getresuid(), os.getgroups(), open('/proc/self/status').read().split('CapEff:')[1].split()[0])\n"
        "try:\n    os.setuid(0)\nexcept PermissionError:\n    print('for good')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    uid = jail.JailConfig().uid
    assert done.stdout.decode() == f"({uid}, {uid}, {uid}) [] {'0' * 16}\nfor good\n"
