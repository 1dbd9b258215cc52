"""What the jailed process answers is believed only as far as it can be checked."""

import io
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugyard.application.ports import Inspection
from plugyard.domain.report import Severity
from plugyard.gate.answer import InspectionFrame, Row, UntrueAnswer, decode, encode
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.sandbox import wire
from tests.unit.gate.archive_samples import SAMPLES
from tests.unit.gate.packing import Entry, manifest, plain

_LIMITS = GateLimits()
_DIGEST = "d" * 64


def _body(frame: InspectionFrame) -> bytes:
    return wire.frame(frame)[4:]


def _read(frame: InspectionFrame) -> Inspection:
    return decode(_body(frame), _LIMITS, digest=_DIGEST, size=77)


def _honest(**changes: Any) -> InspectionFrame:
    icon = {"metadata": {"name": "my-plugin", "version": "1.0.0", "icon": "a.png"}}
    package = plain(Entry(b"a.png", b"x"), text=manifest(**icon))
    return msgspec.structs.replace(encode(inspect(io.BytesIO(package), _LIMITS, _DIGEST)), **changes)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.rule}: {sample.claim}")
def test_an_inspection_survives_the_way(sample: Any) -> None:
    package = sample.package()
    inspection = inspect(io.BytesIO(package), sample.limits, _DIGEST)
    assert decode(_body(encode(inspection)), sample.limits, digest=_DIGEST, size=len(package)) == inspection


def test_digest_and_size_are_the_services_own() -> None:
    inspection = _read(_honest())
    assert (inspection.report.digest, inspection.report.packed_bytes) == (_DIGEST, 77)
    assert inspection.entry == "index.js"


def test_a_rule_keeps_its_severity_whatever_is_claimed() -> None:
    row = Row("archive.link", "a", "b", "c", None)
    assert _read(_honest(findings=(row,))).report.findings[0].severity is Severity.ERROR


@pytest.mark.parametrize(
    "changes",
    [
        {"findings": (Row("no.such-rule", "", "", "", None),)},
        {"findings": (Row("archive.link", "a" * 9000, "", "", None),)},
        {"document": b""},
        {"document": b"[]"},
        {"document": b"{"},
        {"document": b"[" * 500 + b"]" * 500},
        {"document": b" " * (1 << 21)},
        {"document": manifest(metadata={"name": "x"})},
        {"document": manifest(entry="other.js")},
        {"entry": ""},
        {"entry": "other.js"},
        {"bundle": b""},
        {"bundle": b'{"entry": "index.js", "files": {"index.js": 1}}'},
        {"bundle": b'{"entry": "index.js", "files": {}}'},
        {"bundle": b'{"entry": "index.js", "files": {"index.js": ""}, "more": 1}'},
        {"unpacked_bytes": -1},
        {"form": "a longer form"},
    ],
    ids=str,
)
def test_an_answer_that_does_not_hold_together_is_not_believed(changes: dict[str, Any]) -> None:
    with pytest.raises(UntrueAnswer):
        _read(_honest(**changes))


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.tuples(st.integers(0, 900), st.binary(max_size=4)))
def test_no_answer_raises_anything_else(data: bytes | tuple[int, bytes]) -> None:
    body = data if isinstance(data, bytes) else _body(_honest())[: data[0]] + data[1] + _body(_honest())[data[0] + 1 :]
    try:
        inspection = decode(body, _LIMITS, digest=_DIGEST, size=1)
    except UntrueAnswer:
        return
    assert inspection.report.refused or json.loads(inspection.bundle or b"")["files"]


def test_escapes_do_not_make_a_manifest_too_large() -> None:
    text = manifest(metadata={"name": "my-plugin", "version": "1.0.0", "description": "\u00e9" * 400})
    limits = replace(_LIMITS, manifest_bytes=len(text))
    answer = encode(inspect(io.BytesIO(plain(text=text)), limits, _DIGEST))
    assert not decode(_body(answer), limits, digest=_DIGEST, size=1).report.refused
