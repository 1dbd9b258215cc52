"""Native code in an environment against the kernel: every system call there is, by number, from inside the closed jail.

`test_jail.py` tries the calls that matter with arguments that would work; here none is left out, so that a call which a
newer kernel brings is refused before anyone has heard of it.
"""

import platform

import pytest

from plugyard.sandbox import jail
from plugyard.sandbox.jail.syscalls import ALLOWED, FATAL, numbers

from .test_jail import attempts

pytestmark = pytest.mark.skipif(
    not jail.probe().seccomp, reason="this kernel has no seccomp, so nothing executes at all"
)

# Beyond the last call of today's kernels (470 in Linux 6.17).
LAST = 520
# uretprobe and uprobe, which the kernel lets past every filter, and which do nothing but from the page that it maps for
# a traced function: it answers a call from anywhere else with SIGILL or ENXIO itself.
PAST_EVERY_FILTER = {"x86_64": {335, 336}}.get(platform.machine(), set())
X32 = 0x4000_0000


def test_every_number_outside_the_table_is_refused_and_the_fatal_ones_kill() -> None:
    allowed, fatal = set(numbers(ALLOWED).values()), set(numbers(FATAL).values())
    tried = [number for number in range(LAST) if number not in allowed | PAST_EVERY_FILTER]
    found = attempts(*(f"number {number}" for number in tried))
    expected = {f"number {number}": "SIGSYS" if number in fatal else "EPERM" for number in tried}
    assert found == expected


def test_what_passes_every_filter_does_nothing() -> None:
    found = attempts(*(f"number {number}" for number in PAST_EVERY_FILTER))
    assert set(found.values()) <= {"EPERM", "SIGILL", "ENXIO", "ENOSYS"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 has a second numbering of its calls")
def test_the_second_numbering_of_calls_opens_nothing() -> None:
    tried = [f"number {X32 | number}" for number in (0, 2, 9, 41, 56, 57, 59, 257, 512, 520, 545)]
    assert set(attempts(*tried).values()) <= {"EPERM", "SIGSYS"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 enters the kernel as a 32-bit system did")
def test_the_32_bit_door_kills() -> None:
    # SIGSEGV where the kernel was built without that door.
    assert attempts("32 bit")["32 bit"] in ("SIGSYS", "SIGSEGV")


@pytest.mark.parametrize("number", [-1, -2, 1 << 30, (1 << 31) - 1])
def test_numbers_that_are_none_are_refused(number: int) -> None:
    assert attempts(f"number {number}")[f"number {number}"] in ("EPERM", "SIGSYS", "ENOSYS")
