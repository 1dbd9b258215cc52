"""Whatever the bytes are, the check ends and raises nothing; what it accepts it can have read in one way only."""

import io
import json
import tarfile
import zipfile

from hypothesis import example, given, settings
from hypothesis import strategies as st

from plugyard.gate.findings import Findings
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.gate.rules import RULES
from plugyard.gate.strictjson import parse
from tests.unit.gate.packing import BASE, Entry, Member, gz, manifest, pax, plain, streamed, taped, tar

_LIMITS = GateLimits(packed_bytes=1 << 20, unpacked_bytes=1 << 20, entry_bytes=1 << 19, entries=50)
_SEEDS = (
    plain(),
    plain(streamed(Entry(b"a.txt", b"abc", method=8), "marked"), Entry(b"lib/", mode=0o040755), zip64=True),
    plain(comment=b"hello"),
    taped(),
    taped(pax(("path", "lib/a.js")), Member(b"x", b"abc"), Member(b"L", b"b.txt\0", b"L"), Member(b"y")),
)
_TAR = tar(*BASE, pax(("path", "lib/a.js")), Member(b"x", b"abc"))
_edits = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8), st.integers(0, 8)), max_size=6)


def _edited(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    for place, new, removed in edits:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + removed :]
    return data


def _check(package: bytes) -> bool:
    inspection = inspect(io.BytesIO(package), _LIMITS)
    assert inspection.report.refused == (inspection.bundle is None)
    return not inspection.report.refused


@given(st.binary(max_size=2000))
def test_random_bytes_never_raise(data: bytes) -> None:
    for head in (b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08"):
        assert not _check(head + data)


@settings(max_examples=400)
@given(st.sampled_from(_SEEDS), _edits)
def test_edited_packages_never_raise_and_accepted_ones_read_the_same_elsewhere(
    seed: bytes, edits: list[tuple[int, bytes, int]]
) -> None:
    package = _edited(seed, edits)
    if not _check(package):
        return
    files = json.loads(inspect(io.BytesIO(package), _LIMITS).bundle or b"")["files"]
    if package.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            others = {name: archive.read(name) for name in archive.namelist()}
    else:
        with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as tape:
            others = {one.name: tape.extractfile(one).read() for one in tape if one.isfile()}  # type: ignore[union-attr]
    assert {path: others[path].decode("utf-8-sig") for path in files} == files


@settings(max_examples=300)
@given(_edits)
def test_edited_tars_under_a_sound_gzip_never_raise(edits: list[tuple[int, bytes, int]]) -> None:
    _check(gz(_edited(_TAR, edits)))


@settings(max_examples=300)
@given(_edits)
def test_edited_manifests_never_raise(edits: list[tuple[int, bytes, int]]) -> None:
    text = manifest(functions={"f": {"input": {"type": "object"}}}, schedules=[{"cron": "0 0 * * *", "function": "f"}])
    _check(plain(text=_edited(text, edits)))


# All text but U+0000, which has a rule of its own.
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(_text, below, max_size=4),
    max_leaves=20,
)


@given(_json, st.booleans())
@example({"a": "\U0001f600"}, True)
def test_the_strict_reader_agrees_with_the_standard_one(value: object, ascii_only: bool) -> None:
    findings = Findings(10, RULES)
    document = parse(
        json.dumps(value, ensure_ascii=ascii_only, indent=1).encode("utf-8", "replace"), "x.json", _LIMITS, findings
    )
    assert findings.all() == ()
    assert document is not None
    assert document.value == value


@given(_json)
def test_a_manifest_of_any_shape_never_raises(value: object) -> None:
    assert not _check(plain(text=json.dumps(value).encode()))


@given(st.dictionaries(st.sampled_from(["metadata", "runtime", "entry", "dependencies", "configuration",
       "functions", "events",
                                        "schedules", "security", "api"]), _json))  # fmt: skip
def test_fields_of_any_shape_never_raise(fields: dict[str, object]) -> None:
    _check(plain(text=manifest(**fields)))


_keywords = st.sampled_from([
    "$ref", "$dynamicRef", "$anchor", "$id", "$defs", "$schema", "type", "properties", "items", "allOf",
    "anyOf", "not", "if", "then", "prefixItems", "default", "pattern", "patternProperties",
    "additionalProperties", "enum", "minimum", "required", "dependentSchemas", "format", "uniqueItems",
])  # fmt: skip
_schemas = st.recursive(
    st.booleans()
    | _json
    | st.sampled_from(["#", "#/$defs/a", "#a", "a", "(", "^a+$", "string", "#/properties/a/allOf/0"]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(_keywords, below, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b"]), below, max_size=2)
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(st.dictionaries(_keywords, _schemas, max_size=5))
def test_schemas_of_any_shape_never_raise(schema: dict[str, object]) -> None:
    _check(plain(text=manifest(configuration=schema, functions={"f": {"input": schema}})))


@given(st.text("0123456789.<>=~^|-*xXvV +ab", max_size=30), st.text("0123456789.-+abv", max_size=20))
def test_ranges_and_versions_of_any_shape_never_raise(text: str, version: str) -> None:
    _check(plain(text=manifest(metadata={"name": "abc", "version": version}, dependencies={"node": text})))


@given(st.text("0123456789*/,- sunmonjax", max_size=30))
def test_schedules_of_any_shape_never_raise(text: str) -> None:
    _check(plain(text=manifest(schedules=[{"cron": text, "function": "f", "timeZone": text}])))
