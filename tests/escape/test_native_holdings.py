"""What native code in an environment finds in its own process: one socket, the guest's own code to read, no variable,
no right, no second thread.

Read from outside, by the kernel's account of environments as the pool really makes them.
"""

import os
import stat
from pathlib import Path

import psutil
import pytest

from plugyard.domain.manifest import Runtime
from plugyard.sandbox import jail
from plugyard.sandbox.outside.executor import Sandbox

from .aftermath import still
from .hostile import run, value

pytestmark = [
    pytest.mark.usefixtures("unharmed"),
    pytest.mark.skipif(not jail.probe().seccomp, reason="this kernel has no seccomp, so nothing executes at all"),
]


@pytest.fixture
async def environments(sandbox: Sandbox) -> list[psutil.Process]:
    """Spares, and one environment that has run a plugin and waits for its next call."""
    assert value(await run(sandbox, Runtime.PYTHON, "def run(): return 1\n", plugin="holdings", fresh=False)) == 1
    await still(sandbox)
    found = psutil.Process(sandbox._zygote.pid).children(recursive=True)
    assert found
    return found


def status_of(process: psutil.Process) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)}


def test_one_socket_and_the_guests_own_artefact_are_all_that_is_open(environments: list[psutil.Process]) -> None:
    for process in environments:
        held = list(Path(f"/proc/{process.pid}/fd").iterdir())
        sockets = [one for one in held if stat.S_ISSOCK(os.stat(one).st_mode)]
        files = [one for one in held if one not in sockets]
        assert len(sockets) == 1
        # The compiled guest, to read only: the first memory of a new instance is mapped from it.
        assert len(files) <= 1
        for file in files:
            assert Path(os.readlink(file)).suffix == ".cwasm"
            flags = Path(f"/proc/{process.pid}/fdinfo/{file.name}").read_text().split("flags:")[1].split()[0]
            assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY


def test_no_variable_and_no_secret_is_in_its_memory_to_begin_with(environments: list[psutil.Process]) -> None:
    for process in environments:
        assert Path(f"/proc/{process.pid}/environ").read_bytes() == b""


def test_no_right_is_left_and_none_can_be_gained(environments: list[psutil.Process]) -> None:
    for process in environments:
        status = status_of(process)
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} <= {
            "0" * 16,
            status["CapBnd"],
        }
        assert (status["CapPrm"], status["CapEff"], status["CapAmb"]) == ("0" * 16,) * 3
        assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
        assert "0" not in status["Uid"].split()
        assert status["Groups"] == ""


def test_it_may_make_no_file_no_process_and_no_core(environments: list[psutil.Process]) -> None:
    for process in environments:
        lines = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        limits = {line[:25].strip(): line[26:].split()[:2] for line in lines[1:]}
        for name in ("Max core file size", "Max processes", "Max file size"):
            assert limits[name] == ["0", "0"], name
        assert int(limits["Max open files"][1]) <= 64


def test_no_memory_is_writable_and_executable(environments: list[psutil.Process]) -> None:
    for process in environments:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            assert "wx" not in line.split()[1], line


def test_the_service_comes_first_when_the_processor_is_short(environments: list[psutil.Process]) -> None:
    assert all(process.nice() > psutil.Process().nice() for process in environments)
