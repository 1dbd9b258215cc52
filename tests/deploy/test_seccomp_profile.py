"""The container's seccomp profile: the jail closes under it, and what a runtime denies otherwise stays denied.

The profile is laid over real processes with our own assembler, so that nothing is believed of it that was not tried.
"""

import json
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from system_calls import syscalls

from plugyard.sandbox.jail import bpf, namespaces
from plugyard.sandbox.jail.native import MACHINE
from plugyard.sandbox.jail.syscalls import ALLOWED, AUDIT_ARCHITECTURE, FATAL_BY_PURPOSE, MAPPING, READING
from tests.acceptance.test_path_of_a_package import active, run
from tests.conftest import wait_until_ready

ROOT = Path(__file__).resolve().parents[2]
PROFILE = json.loads((ROOT / "deploy/seccomp.json").read_text())
KNOWN = {"x86_64": "x86_64", "aarch64": "arm64"}
EVERY_NAMESPACE = 0x7E02_0080
Rule = dict[str, Any]


@cache
def rules() -> dict[str, list[Rule]]:
    """The rules of each call."""
    found: dict[str, list[Rule]] = {}
    for rule in PROFILE["syscalls"]:
        for name in rule["names"]:
            found.setdefault(name, []).append(rule)
    return found


def allows(name: str, *arguments: int) -> bool:
    """Whether a call with these arguments passes."""
    for rule in rules().get(name, []):
        if rule["action"] == "SCMP_ACT_ALLOW" and all(
            arguments[one["index"]] == one["value"]
            if one["op"] == "SCMP_CMP_EQ"
            else arguments[one["index"]] & one["value"] == one["valueTwo"]
            for one in rule.get("args", [])
        ):
            return True
    return False


def test_whatever_the_jail_calls_is_in_the_profile() -> None:
    sources = [*(ROOT / "src/plugyard/sandbox/jail").glob("*.py"), *(ROOT / "src/plugyard/sandbox/inside").glob("*.py")]
    text = "\n".join(path.read_text() for path in sources)
    called = set(re.findall(r'(?:_call|number_of)\("(\w+)"', text))
    # What Python's own library calls for the rest of these files.
    called |= {"setns", "pidfd_open", "prctl", "setresuid", "setresgid", "setgroups", "close_range", "setpriority",
               "getpriority", "prlimit64", "setpgid", "socketpair", "sendmsg", "recvmsg", "wait4", "kill", "fchdir",
               "getdents64", "openat", "pidfd_send_signal", "waitid", "sethostname", "memfd_create",
               "landlock_create_ruleset", "landlock_restrict_self"}  # fmt: skip
    called |= {*ALLOWED, *READING, *MAPPING}
    assert called >= {"unshare", "mount", "pivot_root", "umount2", "capset", "seccomp", "clone"}
    missing = called - rules().keys()
    assert not missing, f"the jail cannot do without {sorted(missing)}"


def test_the_namespaces_that_may_be_made_are_those_of_the_jail() -> None:
    wanted = 0
    for flag in namespaces._FLAGS.values():
        wanted |= flag
    assert allows("unshare", wanted)
    assert not allows("unshare", wanted | 0x0200_0000), "the profile lets control groups be unshared"
    assert allows("setns", 3, namespaces._FLAGS["pid"])
    assert not any(allows("setns", 3, flag) for name, flag in namespaces._FLAGS.items() if name != "pid")
    assert allows("clone", namespaces_free := 0x8000 | 17)
    assert not any(allows("clone", namespaces_free | flag) for flag in namespaces._FLAGS.values())
    assert not allows("clone3")


def test_the_mounts_that_may_be_made_are_those_of_the_jail() -> None:
    private = namespaces._PRIVATE | namespaces._RECURSIVE
    empty = namespaces._READ_ONLY | namespaces._NO_SUID | namespaces._NO_DEVICES | namespaces._NO_EXEC
    assert allows("mount", 0, 0, 0, private)
    assert allows("mount", 0, 0, 0, empty)
    assert not any(allows("mount", 0, 0, 0, flags) for flags in (0, 0x1000, 0x20, empty & ~1))
    assert allows("umount2", 0, namespaces._DETACH)
    assert not allows("umount2", 0, 0)


@pytest.mark.parametrize(
    "purpose",
    ["parts of the kernel with a history of holes", "the machine itself", "the machine's clocks",
     "reaching into another process, or signalling it", "mounts, roots and namespaces"],
)  # fmt: skip
def test_what_nothing_in_here_needs_is_denied(purpose: str) -> None:
    needed = {"mount", "umount2", "pivot_root", "unshare", "setns", "sethostname"}
    needed |= {"pidfd_open", "pidfd_send_signal", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"}
    assert PROFILE["defaultAction"] == "SCMP_ACT_ERRNO"
    allowed = FATAL_BY_PURPOSE[purpose].keys() & rules().keys()
    assert allowed <= needed


def test_every_name_is_a_call_and_every_rule_says_why() -> None:
    table = syscalls()
    names = set(table.names())
    for rule in PROFILE["syscalls"]:
        assert set(rule["names"]) <= names
        assert rule["comment"].strip()
    assert [one["architecture"] for one in PROFILE["archMap"]] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]


def filter_of_the_profile() -> bytes:
    """The profile as the kernel takes it, on this machine."""
    table, kind = syscalls(), KNOWN[MACHINE]
    allowed: dict[int, tuple[bpf.Condition, ...]] = {}
    for name, of_it in rules().items():
        try:
            number = table.get(name, kind)
        except Exception:
            # This machine has no such call.
            continue
        if of_it[0]["action"] != "SCMP_ACT_ALLOW":
            continue
        conditions: list[bpf.Condition] = []
        equal: dict[int, list[int]] = {}
        for argument in (one for rule in of_it for one in rule.get("args", [])):
            if argument["op"] == "SCMP_CMP_EQ":
                equal.setdefault(argument["index"], []).append(argument["value"])
            else:
                assert argument["valueTwo"] == 0
                conditions.append(bpf.LacksBits(argument["index"], argument["value"]))
        conditions += [bpf.OneOf(index, tuple(values)) for index, values in equal.items()]
        allowed[number] = tuple(conditions)
    program = bpf.program(AUDIT_ARCHITECTURE[MACHINE], allowed, (), 1)
    # Behind the head, where the number of the call is at hand: the one call that is to look as if it did not exist.
    program[6:6] = [(bpf.JUMP_EQUAL, 0, 1, table.get("clone3", kind)), (bpf.RETURN, 0, 0, bpf.ERRNO | 38)]
    return bpf.encode(program)


_UNDER = """
import ctypes, os, sys
code = open(sys.argv[1], "rb").read()
class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(ctypes.c_long(int(sys.argv[2])), 1, 0, ctypes.byref(Program(len(code) // 8, code))) == 0
exec(sys.argv[3])
"""


def under_the_profile(program: str) -> subprocess.CompletedProcess[str]:
    """Run Python under the profile, without any new privileges, as the container's runtime does."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "filter"
        code.write_bytes(filter_of_the_profile())
        command = [sys.executable, "-I", "-c", _UNDER, str(code), str(syscalls().get("seccomp", KNOWN[MACHINE]))]
        return subprocess.run([*command, program], capture_output=True, text=True, timeout=120)


def test_the_jail_has_under_the_profile_what_it_has_without() -> None:
    program = (
        "import json; from plugyard.sandbox import jail; found = jail.try_namespaces(); "
        "print(json.dumps([str(jail.probe()), found.given, dict(found.missing)]))"
    )
    free = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    held = under_the_profile(program)
    assert held.returncode == 0, held.stderr
    assert json.loads(held.stdout) == json.loads(free.stdout)


@pytest.mark.parametrize(
    "attempt",
    [
        ("unshare", 0x0200_0000),  # control groups
        ("clone", 0x1000_0000 | 17, 0, 0, 0, 0),  # a process in a user namespace
        ("setns", 0, 0x4000_0000),  # somebody's network
        ("mount", 0, 0, 0, 0x1000, 0),  # a bind mount
        ("keyctl", 0, 0),
        ("bpf", 0, 0, 0),
        ("perf_event_open", 0, 0, 0, 0, 0),
        ("ptrace", 0, 0, 0, 0),
        ("io_uring_setup", 1, 0),
        ("userfaultfd", 0),
        ("socket", 38, 5, 0),  # the kernel's cryptography
        ("socket", 40, 1, 0),  # the host of a virtual machine
        ("chroot", 0),
    ],
    ids=lambda attempt: f"{attempt[0]} {attempt[1]:#x}",
)
def test_what_a_runtime_denies_is_denied_here_too(attempt: tuple[Any, ...]) -> None:
    name, *arguments = attempt
    number = syscalls().get(name, KNOWN[MACHINE])
    words = ", ".join(f"ctypes.c_long({one})" for one in arguments)
    done = under_the_profile(f"print(libc.syscall(ctypes.c_long({number}), {words}), ctypes.get_errno())")
    assert done.stdout.split() == ["-1", "1"], done.stderr


def test_a_plugin_executes_under_the_profile() -> None:
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
from benchmarks.sandbox import SOURCES, run
from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import build_guests
from plugyard.sandbox.outside.pool import PoolSettings
from plugyard.settings import DEFAULT_GUESTS
async def main():
    guests = await build_guests(DEFAULT_GUESTS)
    sandbox = Sandbox(guests, PoolSettings(spares=1))
    await sandbox.start()
    try:
        for runtime in SOURCES:
            print(runtime.value, (await run(sandbox, runtime, "a")).status.value)
    finally:
        await sandbox.close()
asyncio.run(main())
"""
    done = under_the_profile(program)
    assert done.stdout.split("\n")[:2] == ["python succeeded", "javascript succeeded"], done.stderr[-2000:]


def test_the_whole_service_lives_under_the_profile(data_folder: Path) -> None:
    code = data_folder / "filter"
    code.write_bytes(filter_of_the_profile())
    # `serve` replaces the process that laid the filter over itself, so that it and all that it starts stay under it.
    serve = [sys.executable, "-m", "plugyard.cli", "serve", "--port", "0", "--data", str(data_folder)]
    program = f"os.execv({sys.executable!r}, {[*serve, '--require-namespaces']!r})"
    number = str(syscalls().get("seccomp", KNOWN[MACHINE]))
    with (data_folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _UNDER, str(code), number, program], stdout=log, stderr=log, cwd=data_folder
        )
    try:
        running = wait_until_ready(process, data_folder)
        assert _mode_of(process.pid) == "2", "the service runs without a filter"
        with running.client() as client:
            # An upload goes through the gate's jail, its execution through the sandbox's, both into PostgreSQL.
            assert run(client, active(client, "profiled"), "add", {"a": 1, "b": 2})["output"] == 3
        assert running.stop() == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _mode_of(pid: int) -> str:
    return dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())["Seccomp"]
