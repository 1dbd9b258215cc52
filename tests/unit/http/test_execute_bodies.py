"""The body of ``execute`` is judged strictly, and its input, which may be large, stays out of the slow part of it."""

import json
from typing import Any

import msgspec
import pytest

from plugyard.domain.errors import InvalidInput, TooLarge
from plugyard.http import executions
from plugyard.http.bodies import DEFAULT_CAP, decode
from plugyard.http.executions import _asked
from plugyard.http.problems import MalformedJson

RECORDS = [{"mode": "x", "function": 'a "b"', "input": number, "limits": [1, {"input": {}}]} for number in range(200)]


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What took the careful way."""
    seen: list[bytes] = []

    def counted(raw: bytes, type_: Any) -> Any:
        seen.append(raw)
        return decode(raw, type_)

    monkeypatch.setattr(executions, "decode", counted)
    return seen


def input_of(raw: bytes) -> Any:
    given = _asked(raw).input
    assert isinstance(given, msgspec.Raw)
    return msgspec.json.decode(given)


def wrong_at(raw: bytes) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        _asked(raw)
    return [one.pointer for one in raised.value.errors]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("last", [False, True])
def test_names_within_an_input_are_no_names_of_the_body(slowly: list[bytes], indent: int | None, last: bool) -> None:
    body = {"input": RECORDS, "function": "f"} if not last else {"function": "f", "mode": "sync", "input": RECORDS}
    assert input_of(json.dumps(body, indent=indent).encode()) == RECORDS
    assert not slowly


@pytest.mark.parametrize(
    "beside",
    [
        {"function": "f", "limits": {"memory": 64}},
        {"function": "f", "timeoutMs": 2000.0},
        {"function": 'f"\\é', "limits": None},
        {"function": "input", "webhook": "input"},
    ],
)
@pytest.mark.parametrize("value", [RECORDS, 1, "input", None, {}, [1]])
@pytest.mark.parametrize("first", [False, True])
def test_the_careful_way_is_gone_without_the_input(
    slowly: list[bytes], beside: dict[str, Any], value: Any, first: bool
) -> None:
    body = {"input": value, **beside} if first else {**beside, "input": value}
    assert input_of(json.dumps(body).encode()) == value
    assert all(len(one) < 200 and json.loads(one) == {**beside, "input": None} for one in slowly)


def test_of_a_wrong_body_every_fault_is_told_without_its_input(slowly: list[bytes]) -> None:
    raw = json.dumps({"functio": "f", "input": RECORDS, "mode": "later", "limits": {"cpu": 0}}).encode()
    assert set(wrong_at(raw)) == {"/functio", "/function", "/mode", "/limits/cpu"}
    assert all(len(one) < 200 for one in slowly)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"function": "f", "limits": {"memory": 64}, "limits": null}', "limits"),
        (b'{"function": "f", "input": 12, "input": 1}', "input"),
        (b'{"function": "f", "input": 1, "input": 12}', "input"),
        (b'{"function": "f", "input": 1, "in\\u0070ut": 12}', "input"),
        (b'{"function": "f", "input": {"mode": 1}, "mode": "sync", "mode": "async"}', "mode"),
        (b'{"function": "f", "mode": "async", "mod\\u0065": "sync"}', "mode"),
        (b'{"function": "f", "limits": {"memory": 64, "memory": 128}, "input": [{"memory": 1}]}', "memory"),
    ],
)
@pytest.mark.parametrize("filled", [0, 4_000], ids=["small", "large"])
def test_no_name_stands_twice(raw: bytes, name: str, filled: int) -> None:
    assert wrong_at(raw[:-1] + b" " * filled + b"}") == [f"/{name}"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"x": {"input": [1]}, "function": "f", "input": [1]}',
        b'{"x\\"input": [1], "function": "f", "input": [1]}',
        b'{"limits": {"input": 12}, "function": "f", "input": 1}',
    ],
)
def test_what_is_named_as_the_input_elsewhere_is_unknown(raw: bytes) -> None:
    assert len(wrong_at(raw)) == 1


@pytest.mark.parametrize("fault", [b'"x": [1,,2]', b'"x": \xff', b'"x": ' + b"[" * 200_000, b'"x": 1} {', b""])
def test_a_large_body_that_is_no_json_is_told_of_as_that(slowly: list[bytes], fault: bytes) -> None:
    with pytest.raises(MalformedJson):
        _asked(b'{"function": "f", "y": "%b", "input": 1, %b}' % (b"y" * DEFAULT_CAP, fault))
    assert not slowly


def test_what_is_beside_the_input_has_the_cap_of_other_bodies(slowly: list[bytes]) -> None:
    input_of(json.dumps({"function": "f", "input": "x" * DEFAULT_CAP * 2}).encode())
    many = {f"x{number}": 0 for number in range(DEFAULT_CAP // 5)}
    for body in ({"function": "f", **many}, {"function": "f", "input": RECORDS, "limits": many}):
        with pytest.raises(TooLarge, match="beside its input"):
            _asked(json.dumps(body).encode())
    assert not slowly
