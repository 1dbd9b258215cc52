"""Each rule on components fires with its words; a component that keeps them is accepted and becomes the bundle."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugyard.application.ports import Inspection
from plugyard.gate.answer import UntrueAnswer, decode, encode
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.sandbox import wire
from tests.unit.gate.component_samples import COMPONENT_SAMPLES, component, importing
from tests.unit.gate.packing import Entry, manifest, zip_of

_MANIFEST = manifest(dependencies=None, runtime="wasm")


def _inspect(data: bytes, limits: GateLimits | None = None) -> Inspection:
    package = zip_of(Entry(b"plugin.wasm", data), Entry(b"plugin.json", _MANIFEST))
    return inspect(io.BytesIO(package), limits or GateLimits(), "d" * 64)


@pytest.mark.parametrize(("rule", "data", "says"), COMPONENT_SAMPLES)
def test_a_rule_fires_and_says_why(rule: str, data: bytes, says: str) -> None:
    inspection = _inspect(data)
    assert any(one.rule == rule and says in one.what for one in inspection.report.findings), inspection.report.findings
    assert inspection.report.refused
    assert inspection.bundle is None


@pytest.mark.parametrize(
    "data", [component(), importing("wasi:cli/stdout@0.2.6"), importing("plugyard:plugin/host@1.0.0")]
)
def test_a_component_is_accepted_and_is_the_bundle(data: bytes) -> None:
    inspection = _inspect(data)
    assert inspection.report.findings == ()
    assert inspection.bundle == data
    assert inspection.entry == "plugin.wasm"


def test_the_entry_is_found_before_and_behind_the_manifest() -> None:
    package = zip_of(Entry(b"plugin.json", _MANIFEST), Entry(b"plugin.wasm", component()))
    assert inspect(io.BytesIO(package), GateLimits()).bundle == component()


def test_a_component_beyond_the_cap_is_refused_with_its_size() -> None:
    (finding,) = _inspect(component(), GateLimits(bundle_bytes=100)).report.findings
    assert finding.rule == "bundle.too-large"
    assert str(len(component())) in finding.what


def test_an_accepted_component_survives_the_way_to_the_service() -> None:
    inspection = _inspect(component())
    body = wire.frame(encode(inspection))[4:]
    size = inspection.report.packed_bytes
    assert decode(body, GateLimits(), digest="d" * 64, size=size) == inspection


def test_a_bundle_that_is_no_component_is_an_untrue_answer() -> None:
    inspection = _inspect(component())
    lie = Inspection(inspection.report, inspection.manifest, inspection.entry, b"{}")
    with pytest.raises(UntrueAnswer):
        decode(wire.frame(encode(lie))[4:], GateLimits(), digest="d" * 64, size=1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_the_bytes_are_there_is_a_report(data: st.DataObject) -> None:
    whole = bytearray(importing("wasi:cli/stdout@0.2.6"))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    inspection = _inspect(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert inspection.report.refused == (inspection.bundle is None)
