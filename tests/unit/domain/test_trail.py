"""Following a chain: whatever is done to it shows at the first place that it was done to."""

import hashlib
import json

import pytest

from plugyard.domain.trail import GENESIS, BrokenTrail, Head, follow


def chain(length: int) -> list[bytes]:
    """A chain written without the code under test, by the rule of docs/audit.md alone."""
    lines, before = [], GENESIS
    for sequence in range(1, length + 1):
        rest = (
            f'"sequence":{sequence},"id":"entry-{sequence}","action":"plugin.activated","detail":{{"n": {sequence}}}}}'
        )
        before = hashlib.sha256((before + "{" + rest).encode()).hexdigest()
        lines.append(f'{{"hash":"{before}",{rest}'.encode())
    return lines


def last(lines: list[bytes]) -> Head:
    """The head that following the lines leads to."""
    *_, head = follow(lines)
    return head


def test_an_untouched_chain_leads_to_the_hash_of_its_last_entry() -> None:
    lines = chain(5)
    assert last(lines) == Head(5, json.loads(lines[-1])["hash"])


def test_a_changed_entry_is_named() -> None:
    lines = chain(5)
    lines[2] = lines[2].replace(b'"n": 3', b'"n": 4')
    with pytest.raises(BrokenTrail, match=r"entry 3: it is not what was chained.*id entry-3") as broken:
        last(lines)
    assert broken.value.sequence == 3


def test_a_changed_entry_with_its_hash_computed_anew_breaks_the_next_one() -> None:
    lines = chain(5)
    forged = lines[2][75:].replace(b'"n": 3', b'"n": 4')
    hash_ = hashlib.sha256(json.loads(lines[1])["hash"].encode() + b"{" + forged).hexdigest()
    lines[2] = f'{{"hash":"{hash_}",'.encode() + forged
    with pytest.raises(BrokenTrail) as broken:
        last(lines)
    assert broken.value.sequence == 4


def test_a_deleted_entry_is_a_gap() -> None:
    lines = chain(5)
    del lines[2]
    with pytest.raises(BrokenTrail, match="entry 3: entry 3 is missing"):
        last(lines)


def test_entries_in_another_order_are_found() -> None:
    lines = chain(5)
    lines[1], lines[2] = lines[2], lines[1]
    with pytest.raises(BrokenTrail) as broken:
        last(lines)
    assert broken.value.sequence == 2


def test_an_inserted_entry_is_found() -> None:
    lines = chain(5)
    lines.insert(3, lines[2])
    with pytest.raises(BrokenTrail, match="entry 3 stands here"):
        last(lines)


def test_an_entry_in_no_chain_is_found() -> None:
    with pytest.raises(BrokenTrail, match="past the triggers"):
        last([*chain(2), b'{"hash":null,"sequence":null,"id":"x"}'])


@pytest.mark.parametrize("line", [b"", b"nonsense", b'{"hash":"00","sequence":1,"id":""}', b"\xff" * 90])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(BrokenTrail, match="no line of a trail"):
        last([line])


def test_a_head_is_read_as_it_is_written() -> None:
    head = Head(7, "ab" * 32)
    assert Head.parse(str(head)) == head
    for wrong in ("", "7", "7:ab", "x:" + "ab" * 32, "-1:" + "ab" * 32, "7:" + "AB" * 32):
        with pytest.raises(ValueError, match="SEQUENCE:HASH"):
            Head.parse(wrong)
