"""The libraries in a package are recognised, with versions and licences, and listed as CycloneDX."""

import hashlib
import io
import json
from datetime import UTC, datetime

import pytest

from plugyard.application.sbom import cyclonedx
from plugyard.domain.report import Component, Report
from plugyard.gate.answer import decode, encode
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.sandbox import wire
from tests.unit.gate.checks.sampling import zipped

_AT = datetime(2026, 11, 28, tzinfo=UTC)
_PLUGIN = {
    "plugin.json": b'{"metadata": {"name": "a-sample", "version": "1.0.0"}, "runtime": "javascript"}',
    "index.js": b"export function f() { return 1; }\n",
}
_MIT = b"Permission is hereby granted, free of charge, to any person obtaining a copy"


def _report(**files: bytes) -> Report:
    return inspect(
        io.BytesIO(zipped(_PLUGIN | {name.replace("__SLASH__", "/"): d for name, d in files.items()})), GateLimits()
    ).report


def _of(files: dict[str, bytes]) -> tuple[Component, ...]:
    return inspect(io.BytesIO(zipped(_PLUGIN | files)), GateLimits()).report.components


@pytest.mark.parametrize(
    ("files", "purl", "licences"),
    [
        ({"lib/a-1.2.dist-info/METADATA": b"Name: A_b\nVersion: 1.2\nLicense-Expression: MIT OR Apache-2.0\n\nx"},
         "pkg:pypi/a-b@1.2", ("MIT OR Apache-2.0",)),
        ({"lib/a.egg-info/PKG-INFO": b"Name: a\nVersion: 2\nClassifier: License :: OSI Approved :: MIT License\n"},
         "pkg:pypi/a@2", ("MIT",)),
        ({"lib/tiny/__init__.py": b"__version__ = '0.3.1'\n", "lib/tiny/LICENSE": _MIT}, "pkg:pypi/tiny@0.3.1",
         ("MIT",)),
        ({"lib/one.py": b'__version__: str = "4.0"\n'}, "pkg:pypi/one@4.0", ()),
        ({"vendor/x/package.json": b'{"name": "@acme/x", "version": "1.0.2", "license": "ISC"}'},
         "pkg:npm/%40acme/x@1.0.2", ("ISC",)),
        ({"js/all.js": b"/* a bundle */ let a = 1;\n" + b";" * 300 + b"\n/*! left-pad v1.3.0 | MIT License */\n"},
         "pkg:npm/left-pad@1.3.0", ("MIT",)),
        ({"js/lodash.min.js": b"(function(){var VERSION='4.17.21';})()"}, "pkg:npm/lodash@4.17.21", ()),
        ({"js/moment-2.29.4.js": b"var a;"}, "pkg:npm/moment@2.29.4", ()),
    ],
)  # fmt: skip
def test_a_library_is_recognised(files: dict[str, bytes], purl: str, licences: tuple[str, ...]) -> None:
    (one,) = _of(files)
    assert (one.purl, one.licences) == (purl, licences)
    assert one.digest == hashlib.sha256(files[one.path]).hexdigest()


def test_the_producers_of_a_component_are_listed() -> None:
    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    section = text("producers") + b"\x01" + text("processed-by") + b"\x01" + text("rustc") + text("1.80.0")
    (one,) = _of({"data/x.bin": b"\0asm\x01\0\0\0\0" + bytes([len(section)]) + section})
    assert (one.name, one.version) == ("rustc", "1.80.0")


def test_code_of_the_plugins_own_is_no_library() -> None:
    assert _of({"src/a.js": b"/* my plugin 1.0 does things */\nexport const a = 1;\n", "lib/b.py": b"x = 1\n"}) == ()


@pytest.mark.parametrize("junk", [b"{" * 50_000, b"[]", b'{"name": 1}', b'{"name": "\\u0000", "version": []}', b"\xff"])
def test_nonsense_in_metadata_breaks_nothing(junk: bytes) -> None:
    found = inspect(io.BytesIO(zipped(_PLUGIN | {"a/package.json": junk, "lib/a.dist-info/METADATA": junk})),
                    GateLimits()).report  # fmt: skip
    assert "gate.could-not-run" not in {one.rule for one in found.findings}


def test_the_libraries_survive_the_way_out_of_the_jail() -> None:
    inspection = inspect(io.BytesIO(zipped(_PLUGIN | {"js/moment-2.29.4.js": b"var a;"})), GateLimits())
    again = decode(wire.frame(encode(inspection))[4:], GateLimits(), digest="d" * 64, size=1)
    assert again.report.components == inspection.report.components != ()


def test_the_bill_is_valid_by_the_schema_of_cyclonedx() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    components = _of({
        "lib/a-1.dist-info/METADATA": b"Name: a\nVersion: 1\nLicense: Some Words Of Ours\n",
        "lib/b-1.dist-info/METADATA": b"Name: b\nVersion: 1\nLicense-Expression: MIT OR Apache-2.0\n",
        "x/package.json": b'{"name": "weird \\ud83d name", "license": "MIT"}',
        "js/moment-2.29.4.js": b"var a;",
    })  # fmt: skip
    assert len(components) == 4
    text = cyclonedx("my-plugin", "1.0.0", Report(digest="a" * 64, components=components), _AT)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None
    document = json.loads(text)
    assert document["specVersion"] == "1.6"
    assert {one["name"] for one in document["components"]} >= {"a", "b", "moment"}
    assert text == cyclonedx("my-plugin", "1.0.0", Report(digest="a" * 64, components=components), _AT)


def test_an_empty_bill_is_valid_too() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = cyclonedx("my-plugin", "1.0.0", Report(digest="a" * 64), _AT)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None
