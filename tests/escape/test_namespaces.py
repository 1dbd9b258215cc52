"""Namespaces by themselves: seccomp and Landlock are lost, and native code still finds nobody and nothing of others."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plugyard.domain.manifest import Runtime
from plugyard.gate.jailed import JailedInspector
from plugyard.sandbox import jail
from plugyard.sandbox.jail import JailConfig, JailError, Trial
from plugyard.sandbox.outside import zygote_client
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.zygote_client import Zygote, ZygoteError

from .aftermath import still
from .hostile import run, value
from .test_jail import ORDINARY, attempts

given = jail.try_namespaces()
pytestmark = pytest.mark.skipif(
    bool(given.missing), reason=f"this machine lacks namespaces: {', '.join(sorted(given.missing))}"
)
# The right to write an ordinary user's way into a test belongs to root alone.
USERS = [0, *([ORDINARY] if os.geteuid() == 0 else [])]
LOST = "seccomp,landlock"
KINDS = {"user": "user", "mount": "mnt", "network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}


@contextlib.contextmanager
def something_to_reach() -> Iterator[dict[str, int | str]]:
    """What others may offer on the same machine: a port, a name, shared memory, a folder to write to."""
    library = ctypes.CDLL(None, use_errno=True)
    key = int.from_bytes(os.urandom(3), "big") + 1
    memory = library.shmget(key, 4096, 0o1666)
    assert memory >= 0
    name = f"plugyard-{uuid.uuid4().hex}"
    try:
        with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as named:
            tcp.bind(("127.0.0.1", 0))
            tcp.listen()
            named.bind(f"\0{name}")
            named.listen()
            yield {"port": tcp.getsockname()[1], "name": name, "key": key, "folder": f"/tmp/{name}"}
    finally:
        library.shmctl(memory, 0, None)


@pytest.mark.parametrize("uid", USERS)
def test_no_other_process_is_there_to_see_or_to_signal(uid: int) -> None:
    expected = {
        "own numbers": "[1, 0]",
        "see the service": "ESRCH",
        "see a sibling": "ESRCH",
        "see anybody": "[]",
        "signal everybody": "ESRCH",
    }
    assert attempts(*expected, without=LOST, namespaces=True, uid=uid) == expected


@pytest.mark.parametrize("uid", USERS)
def test_there_is_no_network_but_a_loopback_that_is_down(uid: int) -> None:
    expected = {
        "list interfaces": '{"lo": false}',
        "connect by tcp": "ENETUNREACH",
        "send by udp": "ENETUNREACH",
        "connect by name": "ECONNREFUSED",
    }
    with something_to_reach() as facts:
        assert attempts(*expected, without=LOST, namespaces=True, uid=uid, **facts) == expected


@pytest.mark.parametrize("uid", USERS)
def test_the_file_system_is_an_empty_folder(uid: int) -> None:
    expected = {
        "list the root": "[]",
        "go up": "[]",
        "read a file": "ENOENT",
        "read proc": "ENOENT",
        "make a folder": "ENOENT",
        "make a device": "ENOENT",
        "make a folder here": "EROFS",
    }
    with something_to_reach() as facts:
        assert attempts(*expected, without=LOST, namespaces=True, uid=uid, **facts) == expected


@pytest.mark.parametrize("uid", USERS)
def test_no_memory_and_no_name_is_shared(uid: int) -> None:
    expected = {"find shared memory": "ENOENT", "host name": '"jail"'}
    with something_to_reach() as facts:
        assert attempts(*expected, without=LOST, namespaces=True, uid=uid, **facts) == expected


@pytest.mark.parametrize("uid", USERS)
def test_no_right_is_left_over_the_namespaces(uid: int) -> None:
    tried = ["mount", "change the root", "set the clock", "take the host name"]
    assert attempts(*tried, without=LOST, namespaces=True, uid=uid) == dict.fromkeys(tried, "EPERM")
    (outcome,) = attempts("become root", without=LOST, namespaces=True, uid=uid).values()
    # There is no root at all where an ordinary user's namespace has but one id.
    assert outcome == ("EINVAL" if uid else "EPERM")


@pytest.mark.skipif(not os.access("/proc/sys/user", os.R_OK), reason="this kernel does not count namespaces")
@pytest.mark.parametrize("uid", USERS)
def test_no_further_user_namespace_can_be_made(uid: int) -> None:
    expected = {"become root in a namespace": "ENOSPC"}
    assert attempts(*expected, without=LOST, namespaces=True, uid=uid) == expected


def test_without_the_namespaces_all_of_that_is_there() -> None:
    """The attempts above are real: it is the namespaces that they meet."""
    expected = {
        "see a sibling": "null",
        "signal everybody": "null",
        "read a file": "1",
        "make a folder": "null",
        "connect by tcp": "null",
        "send by udp": "null",
        "connect by name": "null",
        "find shared memory": "null",
    }
    with something_to_reach() as facts:
        assert attempts(*expected, without=LOST, **facts) == expected
        os.rmdir(facts["folder"])


def test_the_first_process_of_its_numbers_dies_of_an_abort_and_of_a_fatal_call() -> None:
    # The kernel spares such a process the signals that it does not wait for; not these.
    found = attempts("abort", "execve", "kill", namespaces=True)
    assert found["abort"] in ("SIGABRT", "SIGSEGV", "SIGILL", "SIGBUS", "SIGTRAP")
    assert found["execve"] == found["kill"] == "SIGSYS"


PROGRAM = """
import json, os, signal, sys, time
from plugyard.sandbox import jail
from plugyard.sandbox.jail.native import prctl
names = json.loads(sys.argv[1])
if os.fork() == 0:
    place = jail.enter(names)
    place.leave_files()
    for _ in range(2):
        if place.fork() == 0:
            # What native code does that has lost seccomp: it no longer wants to die with its parent.
            prctl(1, 0)
            os.setsid()
            os.write(1, b"child\\n")
            time.sleep(60)
            os._exit(0)
    # Each waits for the other to have said its word; the parent of all is the last.
    time.sleep(0.5)
    os.write(1, b"parent\\n")
    time.sleep(60)
    os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("names", [[], list(jail.NAMESPACES)], ids=["without", "with"])
def test_who_refuses_to_die_with_the_zygote_is_killed_by_the_kernel(names: list[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(names)], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        while b"parent" not in started.stdout.readline():
            pass
        family = psutil.Process(started.pid).children(recursive=True)
        zygote = next(one for one in family if one.children())
        forks = zygote.children()
        assert len(forks) == 2
        try:
            zygote.send_signal(signal.SIGKILL)
            _, alive = psutil.wait_procs(forks, timeout=2)
            left = [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
            # They would live on without: it is the number space that ends them.
            assert len(left) == (0 if names else 2)
        finally:
            for one in [*forks, psutil.Process(started.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()


# --- as the service makes them ---


def namespace(pid: int | str, name: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{KINDS[name]}")


def assert_alone_in_an_empty_folder(pid: int) -> None:
    numbers = Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].splitlines()[0].split()
    # Its number on this machine comes first, that in its own space last.
    assert (numbers[0], numbers[-1]) == (str(pid), "1")
    assert os.listdir(f"/proc/{pid}/root") == []
    (mount,) = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount.split()[5].split(","))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at the namespaces of others")
async def test_environments_share_all_but_their_numbers_and_nothing_with_the_service(sandbox: Sandbox) -> None:
    assert value(await run(sandbox, Runtime.PYTHON, "def run(): return 1\n")) == 1
    await still(sandbox)
    zygote = sandbox._zygote.pid
    environments = psutil.Process(zygote).children()
    assert len(environments) >= 3
    for name in jail.NAMESPACES:
        found = {namespace(one.pid, name) for one in environments}
        assert namespace("self", name) not in found
        assert namespace("self", name) != namespace(zygote, name)
        assert len(found) == (len(environments) if name == "pid" else 1), name
    for one in [psutil.Process(zygote), *environments]:
        assert_alone_in_an_empty_folder(one.pid)


async def test_the_service_knows_its_environments_by_their_numbers_on_this_machine(sandbox: Sandbox) -> None:
    child = await sandbox._zygote.fork("python", JailConfig().to_params())
    try:
        process = psutil.Process(child.pid)
        assert process.ppid() == sandbox._zygote.pid
        child.kill()
        assert (await child.exited).signal == signal.SIGKILL
        assert not process.is_running()
    finally:
        child.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at the namespaces of others")
async def test_the_zygote_of_the_gate_has_namespaces_too() -> None:
    inspector = JailedInspector()
    await inspector.start()
    try:
        pid = inspector._zygote.pid
        assert pid is not None
        assert all(namespace(pid, name) != namespace("self", name) for name in jail.NAMESPACES)
        assert os.listdir(f"/proc/{pid}/root") == []
    finally:
        await inspector.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at the namespaces of others")
async def test_without_the_jail_there_are_none_and_the_operator_has_said_so() -> None:
    inspector = JailedInspector(enforced=False)
    await inspector.start()
    try:
        pid = inspector._zygote.pid
        assert pid is not None
        assert all(namespace(pid, name) == namespace("self", name) for name in jail.NAMESPACES)
    finally:
        await inspector.close()


SERVICE = """
import asyncio, json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import PoolSettings
from tests.escape.aftermath import still
from tests.escape.hostile import run, value
async def main():
    sandbox = Sandbox(Guests({"python": Path(sys.argv[1])}), PoolSettings(spares=1))
    await sandbox.start()
    source = "kept = []\\ndef run(input):\\n    kept.append(input)\\n    return kept\\n"
    answers = [value(await run(sandbox, Runtime.PYTHON, source, plugin="p", fresh=False, input=n)) for n in (1, 2)]
    bomb = await run(sandbox, Runtime.PYTHON, "def run(): return len(bytearray(1 << 30))")
    await still(sandbox)
    print(json.dumps([sandbox._zygote.pid, os.getuid(), answers, bomb.status.value]), flush=True)
    sys.stdin.read()
    await sandbox.close()
    print("closed")
asyncio.run(main())
"""
# The tests' own interpreter and guests may lie where only root can read.
TO_READ = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root starts it as another user")
def test_a_service_of_an_ordinary_user_has_them_all(guests: Guests) -> None:
    user = [f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", *TO_READ]
    root = str(Path(__file__).parents[2])
    command = ["setpriv", *user, sys.executable, "-B", "-c", SERVICE, str(guests.artefacts["python"]), root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        try:
            zygote, uid, answers, bomb = json.loads(service.stdout.readline())
            assert (uid, answers, bomb) == (ORDINARY, [[1], [1, 2]], "out_of_memory")
            environments = psutil.Process(zygote).children()
            assert len(environments) >= 2
            for one in environments:
                assert one.uids().real == ORDINARY
                assert all(namespace(one.pid, name) != namespace("self", name) for name in jail.NAMESPACES)
                assert_alone_in_an_empty_folder(one.pid)
                rights = Path(f"/proc/{one.pid}/status").read_text().split("CapEff:")[1].split()[0]
                assert int(rights, 16) == 0
            service.stdin.close()
            assert service.stdout.readline() == b"closed\n"
            assert service.wait(10) == 0
            assert not any(one.is_running() for one in [*environments])
            assert not psutil.pid_exists(zygote)
        finally:
            service.kill()


# --- promises ---


async def test_a_promise_that_the_kernel_does_not_keep_ends_the_zygote(monkeypatch: pytest.MonkeyPatch) -> None:
    promised = Trial((*jail.NAMESPACES, "dreams"), {})
    monkeypatch.setattr(zygote_client.jail, "try_namespaces", lambda: promised)
    zygote = Zygote(("-m", "plugyard.gate.inside"))
    try:
        with pytest.raises(ZygoteError, match="dreams"):
            await zygote.start()
        assert not zygote.alive
        assert zygote.pid is None
    finally:
        await zygote.close()


NESTED = """
import json, os, sys
from plugyard.sandbox import jail
from plugyard.sandbox.jail import trial
told, tell = os.pipe()
if os.fork() == 0:
    # In here no further user namespace can be made, as on a machine whose operator forbids them.
    jail.enter(["user"])
    if sys.argv[1] == "ordinary":
        os.setresuid(jail.JailConfig().uid, jail.JailConfig().uid, jail.JailConfig().uid)
    given, missing = trial._try_all()
    try:
        jail.enter(jail.NAMESPACES)
        entered = True
    except jail.JailError as error:
        entered = str(error)
    os.write(tell, json.dumps([given, missing, entered]).encode())
    os._exit(0)
os.wait()
print(os.read(told, 10000).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users in one namespace")
@pytest.mark.parametrize(("who", "left"), [("ordinary", set()), ("root", set(jail.NAMESPACES) - {"user"})])
def test_where_user_namespaces_are_forbidden_the_trial_says_so_and_nothing_is_entered_by_half(
    who: str, left: set[str]
) -> None:
    done = subprocess.run([sys.executable, "-c", NESTED, who], capture_output=True, check=True, timeout=60)
    given, missing, entered = json.loads(done.stdout)
    assert set(given) == left
    assert set(missing) == set(jail.NAMESPACES) - left
    assert "unshare" in missing["user"]
    assert "unshare" in entered


def test_what_cannot_be_tried_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = jail.try_namespaces.__wrapped__()
    assert found.given == ()
    assert set(found.missing) == set(jail.NAMESPACES)


def test_a_namespace_that_does_not_exist_is_an_error_of_the_jail() -> None:
    with pytest.raises(JailError, match="dreams"):
        jail.enter(["dreams"])
