"""Whatever a file of code holds, reading it and every check on it ends, in bounded time, and raises nothing."""

import io
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.gate.source import LARGEST, read_sources
from tests.unit.gate.checks.sampling import FOLDERS, zipped

_PIECES = st.sampled_from(
    [
        "import os", "from x import *", "eval(", "exec(", "atob(", "new Function(", "b'", '"', "'", "`${", "}", "{",
        "(", ")", "[", "\\u0065", "\\u{10ffff}", "\\u{110000}", "\\x6", "\u202e", "\u2066", "\u3164",
        "\u0430dmin", "admin", "_0x1a2b", ".constructor", ".services", "=>", "=", ";", "\n", "#", "//", "/*",
        "export default ", "export {", "class A:", "def f(", "lambda", "await ", "\t", "\ud7ff", "\U0001f642",
        "\U0001d41eval", "0x", "**", "<T,>", "@", "?.",
    ]
)  # fmt: skip
_SOURCES = [
    (name, data)
    for folder in FOLDERS
    for name, data in folder.files().items()
    if name.rpartition(".")[2] in ("py", "js", "ts")
]


@given(st.lists(_PIECES, max_size=60).map("".join), st.sampled_from(["main.py", "index.js", "index.ts"]))
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_pieces_of_code_never_break_a_check(text: str, name: str) -> None:
    package = zipped({name: text.encode("utf-8", "replace"), "plugin.json": b'{"metadata": {}}'})
    rules = {finding.rule for finding in inspect(io.BytesIO(package), GateLimits()).report.findings}
    assert "gate.could-not-run" not in rules


@given(st.sampled_from(_SOURCES), st.integers(0, 500), st.integers(0, 500), st.binary(max_size=6))
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_a_damaged_sample_never_breaks_a_reader(sample: tuple[str, bytes], at: int, cut: int, put: bytes) -> None:
    name, data = sample
    text = (data[:at] + put + data[at + cut % 7 :]).decode("utf-8", "replace")
    assert read_sources({name: text})[name].path == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "(" * 200_000),
        ("a.py", "x = " + "-" * 100_000 + "1"),
        ("a.py", "a" + ".a" * 100_000),
        ("a.py", "x = " + "+".join(["1"] * 100_000)),
        ("a.py", "f(" * 90 + ")" * 90),
        ("a.js", "(" * 200_000),
        ("a.js", "a" + ".a" * 100_000),
        ("a.js", "a" + "()" * 100_000),
        ("a.js", "function f() { " + "(" * 100_000 + " }"),
        ("a.js", "a=>" * 50_000),
        ("a.js", "`${" * 30_000),
        ("a.js", "x = " + "+".join(["1"] * 100_000)),
        ("a.js", "f(" * 20_000 + ")" * 20_000),
        ("a.js", "[" * 50_000 + "]" * 50_000),
        ("a.js", "const a = atob;" + "const b = a(" * 5_000),
        ("a.ts", "<" * 100_000),
        ("a.ts", "type A = " + "{a: " * 20_000),
        ("a.js", "export {" + ", ".join(f"a{n} as b{n}" for n in range(50_000)) + "}"),
        ("a.py", "\u0430 = 1\n" * 50_000),
        ("a.js", "'" + "a.webhook" * 60_000 + "'"),
    ],
    ids=lambda value: value[:20] if len(value) > 10 else value,
)
def test_hostile_nesting_and_length_end_soon(name: str, text: str) -> None:
    package = zipped({name: text.encode(), "plugin.json": b'{"metadata": {}}'})
    began = time.process_time()
    rules = {finding.rule for finding in inspect(io.BytesIO(package), GateLimits()).report.findings}
    assert time.process_time() - began < 8
    assert "gate.could-not-run" not in rules


def test_a_file_beyond_the_cap_is_named_and_not_parsed() -> None:
    source = read_sources({"a.py": "x = 1\n" * (LARGEST // 6 + 1)})["a.py"]
    assert source.problem is not None
    assert str(LARGEST) in source.problem
