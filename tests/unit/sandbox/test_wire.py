"""The wire: what goes in comes out, and whatever else comes is a WireError and nothing worse."""

import json
import socket
import threading
import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugyard.sandbox import wire

TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40)
SMALL = st.integers(min_value=0, max_value=2**31)

TO_ENVIRONMENT = st.one_of(
    st.builds(wire.Load, SMALL, st.binary(max_size=200)),
    st.builds(wire.Invoke, TEXT, st.binary(max_size=50), st.binary(max_size=50), SMALL, SMALL, SMALL),
    st.builds(wire.Answer, SMALL, st.booleans(), st.binary(max_size=50)),
)
FROM_ENVIRONMENT = st.one_of(
    st.builds(wire.Ready, SMALL, SMALL),
    st.builds(wire.Loaded, st.lists(TEXT).map(tuple), st.binary(max_size=50)),
    st.builds(wire.Call, SMALL, TEXT, TEXT, st.binary(max_size=50)),
    st.builds(wire.Log, TEXT, TEXT, st.binary(max_size=50)),
    st.builds(wire.Done, st.booleans(), st.booleans(), st.binary(max_size=50)),
)


@given(TO_ENVIRONMENT)
def test_a_frame_to_an_environment_survives_the_way(message: wire.ToEnvironment) -> None:
    assert wire.decode_to_environment(wire.frame(message)[4:]) == message


@given(st.lists(FROM_ENVIRONMENT, max_size=5), st.integers(min_value=1, max_value=30))
def test_a_stream_is_cut_into_its_frames_however_it_arrives(messages: list[wire.FromEnvironment], step: int) -> None:
    stream = b"".join(wire.frame(message) for message in messages)
    splitter = wire.Splitter(10_000)
    found = []
    for start in range(0, len(stream), step):
        found += [wire.decode_from_environment(body) for body in splitter.feed(stream[start : start + step])]
    assert found == messages


@given(st.binary(max_size=300))
@example(b"\x91\xa5\x00\x00\x00\x00\x80")  # a name that is no UTF-8
def test_any_bytes_are_a_frame_or_a_wire_error(data: bytes) -> None:
    for decode in (
        wire.decode_from_environment,
        wire.decode_to_environment,
        wire.unpack_from_zygote,
        wire.unpack_to_zygote,
    ):
        try:
            decode(data)
        except wire.WireError:
            continue


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXT | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(["ready", "loaded", "call", "log", "done", "load", "fork"]), st.lists(JSONISH, max_size=7))
def test_a_frame_with_wrong_fields_is_a_wire_error_or_well_typed(tag: str, fields: list[object]) -> None:
    data = msgspec.msgpack.encode([tag, *fields])
    try:
        message = wire.decode_from_environment(data)
    except wire.WireError:
        return
    assert isinstance(message, wire.Frame)


def test_deeply_nested_bytes_are_a_wire_error() -> None:
    with pytest.raises(wire.WireError):
        wire.decode_from_environment(b"\x91" * 100_000)


def test_a_frame_beyond_the_cap_is_refused_before_it_is_read() -> None:
    splitter = wire.Splitter(100)
    with pytest.raises(wire.WireError, match="at most 100"):
        list(splitter.feed((101).to_bytes(4, "big")))


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(wire.WireError):
        wire.decode_from_environment(msgspec.msgpack.encode(["ready", 1, 2, "more"]))


def test_a_control_message_beyond_the_cap_is_not_sent() -> None:
    with pytest.raises(wire.WireError, match="control message"):
        wire.pack(wire.Fork(1, "role", {"text": "x" * wire.MAX_CONTROL_BYTES}))


def test_a_receiver_reads_whole_frames_and_tells_of_the_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, wire.Answer(7, True, b"null"))
        frames = wire.Receiver(theirs)
        assert wire.decode_to_environment(frames.receive()) == wire.Answer(7, True, b"null")
        ours.sendall(b"\0\0")
        ours.close()
        with pytest.raises(EOFError):
            frames.receive()


def test_a_receiver_refuses_a_length_beyond_the_cap() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(wire.WireError):
            wire.Receiver(theirs).receive()


def test_frames_that_come_at_once_are_given_out_one_by_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        answers = [wire.Answer(number, True, b"1" * number) for number in range(5)]
        ours.sendall(b"".join(map(wire.frame, answers)) + wire.frame(answers[0])[:3])
        frames = wire.Receiver(theirs)
        assert not frames.holds_one
        for number, answer in enumerate(answers):
            assert wire.decode_to_environment(frames.receive()) == answer
            assert frames.holds_one == (number < 4)
        ours.sendall(wire.frame(answers[0])[3:])
        assert wire.decode_to_environment(frames.receive()) == answers[0]


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=6), st.integers(1, 70_000))
def test_frames_arrive_whole_however_the_stream_is_cut(sizes: list[int], step: int) -> None:
    answers = [wire.Answer(number, True, b"x" * size) for number, size in enumerate(sizes)]
    stream = b"".join(map(wire.frame, answers))
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def say() -> None:
            for begin in range(0, len(stream), step):
                ours.sendall(stream[begin : begin + step])

        saying = threading.Thread(target=say)
        saying.start()
        frames = wire.Receiver(theirs)
        assert [wire.decode_to_environment(frames.receive()) for _ in answers] == answers
        saying.join()
    splitter = wire.Splitter(wire.MAX_FRAME_BYTES)
    pieces = [stream[begin : begin + step] for begin in range(0, len(stream), step)]
    bodies = [body for piece in pieces for body in splitter.feed(piece)]
    assert [wire.decode_to_environment(body) for body in bodies] == answers


@pytest.mark.parametrize(
    ("data", "depth", "within"),
    [
        (b"[]", 1, True),
        (b"[[]]", 1, False),
        (b'{"a": [1, {"b": 2}]}', 3, True),
        (b'{"a": [1, {"b": 2}]}', 2, False),
        (b'["[[[[[["]', 1, True),
        (b'["\\"[[[[[["]', 1, True),
        (b"[" * 1000 + b"]" * 1000, 999, False),
        (b"[1],[2],[3]", 1, True),
    ],
)
def test_the_depth_of_json_is_counted_outside_strings(data: bytes, depth: int, within: bool) -> None:
    assert wire.json_depth_within(data, depth) is within


@given(
    st.recursive(
        st.none() | st.text('[]{}"\\,', max_size=6), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
    )
)
def test_the_depth_that_is_counted_is_that_of_the_value(value: object) -> None:
    def depth(one: object) -> int:
        inner = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    data = json.dumps(value).encode()
    there = depth(value)
    assert wire.json_depth_within(data, there)
    assert not there or not wire.json_depth_within(data, there - 1)


def test_a_text_that_is_slow_to_look_at_is_looked_at_quickly() -> None:
    began = time.perf_counter()
    assert not wire.json_depth_within(b'{"a":[' + b"[]," * 1_300_000 + b"1]}", 64, 50_000)
    assert time.perf_counter() - began < 0.5
