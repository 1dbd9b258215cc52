"""The seccomp program, run by an interpreter of the few instructions that it uses."""

import errno

import pytest

from plugyard.sandbox.jail import bpf

ARCHITECTURE = 0xC000003E
RULES = {
    0: (),
    9: (bpf.LacksBits(2, 4),),
    202: (bpf.OneOf(1, (0, 9, 137)), bpf.LacksBits(0, 1)),
    234: (bpf.Equals(0, 0x1_0000_0002),),
}
PROGRAM = bpf.program(ARCHITECTURE, RULES, (59,), errno.EPERM)
REFUSED = bpf.ERRNO | errno.EPERM


def verdict(number: int, arguments: tuple[int, ...] = (), architecture: int = ARCHITECTURE) -> int:
    words = {0: number, 4: architecture}
    for index, argument in enumerate(arguments):
        words[16 + 8 * index] = argument & 0xFFFFFFFF
        words[20 + 8 * index] = argument >> 32
    accumulator, place = 0, 0
    while True:
        code, true, false, operand = PROGRAM[place]
        place += 1
        if code == bpf.LOAD:
            accumulator = words.get(operand, 0)
        elif code == bpf.JUMP_EQUAL:
            place += true if accumulator == operand else false
        elif code == bpf.JUMP_ANY_BIT:
            place += true if accumulator & operand else false
        else:
            assert code == bpf.RETURN
            return operand


@pytest.mark.parametrize(
    ("number", "arguments", "expected"),
    [
        (0, (), bpf.ALLOW),
        (1, (), REFUSED),
        (59, (), bpf.KILL_PROCESS),
        (9, (0, 4096, 3), bpf.ALLOW),
        (9, (0, 4096, 7), REFUSED),
        (9, (0, 4096, 1 << 32), REFUSED),
        (202, (0, 0), bpf.ALLOW),
        (202, (0, 9), bpf.ALLOW),
        (202, (0, 137), bpf.ALLOW),
        (202, (0, 8), REFUSED),
        (202, (0, 136), REFUSED),
        # What comes after it is still asked.
        (202, (1, 137), REFUSED),
        # The kernel looks at 32 bits of this argument, and so does the rule.
        (202, (0, 0x1_0000_0009), bpf.ALLOW),
        (202, (0, 0x1_0000_0008), REFUSED),
        (234, (0x1_0000_0002,), bpf.ALLOW),
        (234, (2,), REFUSED),
        (234, (0x1_0000_0003,), REFUSED),
        (0x40000000, (), bpf.KILL_PROCESS),
    ],
)
def test_a_rule_decides_by_number_and_arguments(number: int, arguments: tuple[int, ...], expected: int) -> None:
    assert verdict(number, arguments) == expected


def test_another_architecture_ends_the_process() -> None:
    assert verdict(0, architecture=0x40000003) == bpf.KILL_PROCESS


def test_the_encoding_is_eight_bytes_an_instruction() -> None:
    assert len(bpf.encode(PROGRAM)) == 8 * len(PROGRAM)
    assert bpf.encode([(0x15, 1, 2, 0x01020304)]) == b"\x15\x00\x01\x02\x04\x03\x02\x01"
