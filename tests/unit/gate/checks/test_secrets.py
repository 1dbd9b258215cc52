"""What the samples do not say of the search for secrets: what is shown, what is used, and how long it takes."""

import inspect as python
import io
import time
from importlib import import_module
from pathlib import Path

import pytest

from plugyard.gate.detector import KINDS, UNUSED, load
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from tests.unit.gate.checks.sampling import zipped
from tests.unit.gate.checks.secret_samples import LIKELY, SURE

_MANIFEST = b'{"metadata": {"name": "a-sample", "version": "1.0.0"}, "runtime": "javascript"}'
_CODE = b"export function f() { return 1; }\n"


@pytest.mark.parametrize("secret", [*SURE.values(), *LIKELY.values()])
def test_a_finding_never_quotes_more_than_four_characters_of_a_secret(secret: str) -> None:
    package = zipped({"plugin.json": _MANIFEST, "index.js": _CODE, "a.txt": secret.encode()})
    findings = inspect(io.BytesIO(package), GateLimits()).report.findings
    assert any(one.rule.startswith("secret.token") for one in findings)
    for one in findings:
        assert not any(secret[at : at + 8] in one.what for at in range(8, len(secret) - 8)), one.what


def test_every_detector_of_the_library_is_used_or_named_as_unused() -> None:
    plugins = import_module("detect_secrets.plugins")
    base = import_module("detect_secrets.plugins.base").BasePlugin
    there = set()
    for path in Path(plugins.__path__[0]).glob("*.py"):
        if path.stem not in ("__init__", "base"):
            module = import_module(f"detect_secrets.plugins.{path.stem}")
            there |= {
                f"{path.stem}.{name}"
                for name, one in vars(module).items()
                if isinstance(one, type)
                and issubclass(one, base)
                and not python.isabstract(one)
                and one.__module__ == module.__name__
                and name != "HighEntropyStringsPlugin"
            }
    assert there == {kind.detector for kind in KINDS if "." in kind.detector} | UNUSED.keys()


def test_the_library_has_no_way_to_the_network() -> None:
    load()
    base = import_module("detect_secrets.plugins.base")
    assert not hasattr(base.requests, "get") or base.requests.__file__ is not None


@pytest.mark.parametrize("piece", ["eyJ", "AKIA", "aws key ", "://a:b", "PRIVATE KEY-----", "password='", "ibm key="])
def test_a_file_made_of_beginnings_takes_bounded_time(piece: str) -> None:
    text = piece.encode() * ((4 << 20) // len(piece))
    package = zipped({"plugin.json": _MANIFEST, "index.js": _CODE, "a.txt": text})
    began = time.process_time()
    inspect(io.BytesIO(package), GateLimits(ratio=1_000_000))
    assert time.process_time() - began < 8
