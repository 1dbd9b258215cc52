"""What ``plugyard doctor`` looks at: what the kernel gives the jail, and whether the parts are there."""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from plugyard.sandbox import jail
from plugyard.settings import Settings

_NAMESPACES = {
    "user": "rights in there count in there alone",
    "mount": "its root is an empty folder",
    "network": "it has no interface but a loopback that is down",
    "ipc": "it shares no memory, queue or semaphore",
    "uts": "it sees no host name",
    "pid": "it sees and can signal no other process, and ends with its zygote in any case",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. Without a ``needed`` one that is not ``ok`` the service does not start.

    ``detail`` says what there is or what its lack means, ``remedy`` how to get what lacks.
    """

    name: str
    ok: bool
    needed: bool
    detail: str
    remedy: str = ""


def diagnose(settings: Settings) -> list[Check]:
    """Look at everything; nothing is changed by it."""
    data = next(folder for folder in (settings.data, *settings.data.absolute().parents) if folder.exists())
    free_gb = shutil.disk_usage(data).free / (1 << 30)
    return [
        Check(
            "system", sys.platform == "linux", True, f"{platform.system()} {platform.release()} {platform.machine()}"
        ),
        Check("python", sys.version_info >= (3, 11), True, platform.python_version()),
        *_of_the_jail(jail.probe(), settings),
        *of_namespaces(jail.try_namespaces(), required=settings.require_namespaces and not settings.unsafe_no_jail),
        Check("disk", free_gb > 1, False, f"{free_gb:.1f} GB free at {data}"),
    ]


def _of_the_jail(kernel: jail.Kernel, settings: Settings) -> list[Check]:
    return [
        Check(
            "process",
            kernel.pidfd,
            True,
            "closed descriptors, session, priority, limits, no_new_privs, death with the parent"
            if kernel.pidfd
            else "this kernel cannot name a process for certain (pidfd)",
            "" if kernel.pidfd else "Linux 5.4 or newer",
        ),
        Check(
            "seccomp",
            kernel.seccomp,
            not settings.unsafe_no_jail,
            "system calls of a plugin's process are filtered"
            if kernel.seccomp
            else "no system call can be filtered: nothing executes, unless --unsafe-no-jail is given",
            "" if kernel.seccomp else "Linux 4.14 or newer with CONFIG_SECCOMP_FILTER, on x86-64 or ARM64",
        ),
        _landlock(kernel.landlock_abi),
        Check(
            "own user",
            kernel.drops_root,
            False,
            "environments run as an unprivileged user of their own"
            if kernel.drops_root
            else "environments run as the service's user, because it is not root",
            "" if kernel.drops_root else "start the service as root, or give it a user that owns nothing else",
        ),
    ]


def _landlock(abi: int) -> Check:
    if abi == 0:
        remedy = "a kernel with CONFIG_SECURITY_LANDLOCK (Linux 5.13 or newer) and landlock in its lsm= list"
        return Check("landlock", False, False, "not there: files are denied by seccomp and namespaces alone", remedy)
    denied = ["files"]
    denied += ["TCP"] if abi >= 4 else []
    denied += ["abstract sockets and signals to the outside"] if abi >= 6 else []
    lacking = "" if abi >= 6 else "Linux 6.12 or newer denies abstract sockets and signals too"
    return Check("landlock", True, False, f"ABI {abi}: a second lock denies {', '.join(denied)}", lacking)


def of_namespaces(found: jail.Trial, *, required: bool) -> list[Check]:
    """A line for each namespace: what it gives, or the kernel's words on why it is not there."""
    checks = []
    for name in jail.NAMESPACES:
        words = found.missing.get(name)
        if words is None:
            checks.append(Check(f"{name} namespace", True, required, f"a plugin's process: {_NAMESPACES[name]}"))
            continue
        detail = f"not there ({words}); the steps of the jail hold without it"
        checks.append(Check(f"{name} namespace", False, required, detail, remedy(Path("/"))))
    return checks


def remedy(root: Path, *, euid: int | None = None) -> str:
    """What stands in the way of namespaces on the machine whose files are below ``root``, as far as they tell."""
    settings = root / "proc/sys"
    if _read(settings / "user/max_user_namespaces") == "0":
        return "sysctl user.max_user_namespaces=1024"
    if _read(settings / "kernel/unprivileged_userns_clone") == "0":
        return "sysctl kernel.unprivileged_userns_clone=1, or start the service as root"
    if _read(settings / "kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "an AppArmor profile with `userns,` for this Python, or start the service as root"
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return "let the container make namespaces: allow unshare, setns, mount, umount2 and pivot_root in its profiles"
    if (os.geteuid() if euid is None else euid) == 0:
        return "start the service with CAP_SYS_ADMIN, or as an ordinary user"
    return "start the service as root, or on a kernel with user namespaces (CONFIG_USER_NS)"


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
