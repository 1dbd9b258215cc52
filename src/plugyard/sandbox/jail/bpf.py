"""A small assembler of classic BPF for seccomp: rules in, a checked program out. Called by `seccomp` alone.

Source: seccomp(2) for the data that a filter sees, linux/bpf_common.h for the encoding.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOAD, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class Equals:
    """Argument `index` is exactly `value` in all 64 bits."""

    index: int
    value: int


@dataclass(frozen=True, slots=True)
class LacksBits:
    """No bit of `mask` (32 bits) is set in argument `index`, and its upper half is zero."""

    index: int
    mask: int


@dataclass(frozen=True, slots=True)
class OneOf:
    """The lower half of argument `index` is one of `values`; the upper half says nothing, for arguments of 32 bits."""

    index: int
    values: tuple[int, ...]


Condition = Equals | LacksBits | OneOf
Instruction = tuple[int, int, int, int]


def program(
    architecture: int, allowed: Mapping[int, Sequence[Condition]], fatal: Sequence[int], refusal: int
) -> list[Instruction]:
    """The filter: `allowed` passes when all its conditions hold, `fatal` kills the process, the rest gets `refusal`.

    `architecture` is the audit number; any other architecture, and x32 calls, kill the process: their numbers mean
    other calls. `refusal` is an errno.
    """
    code: list[Instruction] = [
        (LOAD, 0, 0, _ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, _NUMBER),
        (JUMP_ANY_BIT, 0, 1, _X32_BIT),
        (RETURN, 0, 0, KILL_PROCESS),
    ]
    for number, conditions in allowed.items():
        block = [instruction for condition in conditions for instruction in _check(condition, refusal)]
        block.append((RETURN, 0, 0, ALLOW))
        if len(block) > 255:
            raise ValueError("a rule is too long for one jump")
        code += [(JUMP_EQUAL, 0, len(block), number), *block]
    for number in fatal:
        code += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, KILL_PROCESS)]
    code.append((RETURN, 0, 0, ERRNO | refusal))
    return code


def _check(condition: Condition, refusal: int) -> list[Instruction]:
    # Arguments are 64 bits wide and little-endian on both architectures; BPF compares 32 bits at a time.
    low = _ARGUMENTS + 8 * condition.index
    refuse = (RETURN, 0, 0, ERRNO | refusal)
    if isinstance(condition, Equals):
        upper, lower = condition.value >> 32, condition.value & 0xFFFFFFFF
        return [
            (LOAD, 0, 0, low + 4), (JUMP_EQUAL, 1, 0, upper), refuse,
            (LOAD, 0, 0, low), (JUMP_EQUAL, 1, 0, lower), refuse,
        ]  # fmt: skip
    if isinstance(condition, OneOf):
        # Each value jumps over those that follow it, and over the refusal.
        last = len(condition.values)
        return [
            (LOAD, 0, 0, low),
            *((JUMP_EQUAL, last - place, 0, value) for place, value in enumerate(condition.values)),
            refuse,
        ]
    return [
        (LOAD, 0, 0, low + 4), (JUMP_EQUAL, 1, 0, 0), refuse,
        (LOAD, 0, 0, low), (JUMP_ANY_BIT, 0, 1, condition.mask), refuse,
    ]  # fmt: skip


def encode(code: Sequence[Instruction]) -> bytes:
    """The program as an array of struct sock_filter."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
