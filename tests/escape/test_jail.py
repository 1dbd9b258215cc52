"""Wall 2 by itself: native code that holds the whole process still reaches nothing."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from plugyard.sandbox import jail
from plugyard.sandbox.jail.syscalls import FATAL

pytestmark = pytest.mark.skipif(
    not jail.probe().seccomp, reason="this kernel has no seccomp, so nothing executes at all"
)

REFUSED = [
    *(["open"] if platform.machine() == "x86_64" else []),
    *("openat", "openat2", "socket", "socketpair", "connect", "bind", "sendmsg", "recvmsg", "clone", "clone3", "kill"),
    *("tkill", "tgkill", "pidfd_open", "pidfd_send_signal", "prlimit64", "memfd_create", "unlinkat", "mkdirat"),
    *("getdents64", "readlinkat", "statx", "dup", "pipe2", "eventfd2", "epoll_create1", "inotify_init1", "shmget"),
    *("setsid", "prctl", "ioctl", "uname", "sysinfo", "capset", "seccomp", "mmap", "lseek", "pread64"),
]
KILLED = [
    name for name, (intel, arm) in FATAL.items() if (intel if platform.machine() == "x86_64" else arm) is not None
]


def attempts(*names: str) -> dict[str, str]:
    script = Path(__file__).with_name("attempts.py")
    done = subprocess.run([sys.executable, str(script), *names], capture_output=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_every_class_of_system_call_is_refused() -> None:
    assert attempts(*REFUSED) == dict.fromkeys(REFUSED, "EPERM")


def test_calls_that_no_guest_makes_end_the_process() -> None:
    assert attempts(*KILLED) == dict.fromkeys(KILLED, "SIGSYS")


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


@pytest.mark.skipif(jail.probe().landlock_abi == 0, reason="this kernel has no Landlock")
def test_landlock_alone_refuses_files() -> None:
    assert attempts("landlock open") == {"landlock open": "EACCES"}


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
