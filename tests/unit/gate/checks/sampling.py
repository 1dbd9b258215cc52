"""Samples of the checks: folders below ``samples/``, ``CHECK/RULE/bad-CLAIM`` and ``.../good-CLAIM``.

CHECK is the file of the check in ``gate/checks`` and RULE the rule's id. A folder holds the files of a package; where
it has no plugin.json, a small one is added that fits the code. In a bad one the rule must be found; a line that ends
in ``<- found`` (in whatever comment the language has) says on which line. A good one looks much like it and must not be
found by that rule, nor be blocked.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.unit.gate.checks.secret_samples import SECRETS

ROOT = Path(__file__).parent / "samples"
_MARK = "<- found"
_LANGUAGES = {"main.py": "python", "index.js": "javascript", "index.ts": "javascript", "plugin.wasm": "wasm"}


@dataclass(frozen=True)
class Folder:
    """One sample."""

    check: str
    rule: str
    bad: bool
    path: Path
    made: Mapping[str, bytes] | None = None  # the files where they lie in no folder

    def __str__(self) -> str:
        return f"{self.rule}: {self.path.name}"

    def files(self) -> dict[str, bytes]:
        """The package's files, with a manifest where the sample has none."""
        files = {
            path.relative_to(self.path).as_posix(): path.read_bytes()
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }
        files |= self.made or {}
        if "plugin.json" not in files:
            runtime = next((_LANGUAGES[name] for name in files if name in _LANGUAGES), "javascript")
            manifest = {"metadata": {"name": "a-sample", "version": "1.0.0"}, "runtime": runtime}
            files["plugin.json"] = json.dumps(manifest).encode()
            if not files.keys() & _LANGUAGES.keys():
                files["index.js"] = b"export function f() { return 1; }\n"
        return files

    def package(self) -> bytes:
        """The package as a ZIP."""
        return zipped(self.files())

    def marked(self) -> list[tuple[str, int]]:
        """File and line of every mark."""
        return [
            (name, number)
            for name, data in self.files().items()
            for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1)
            if _MARK in line
        ]


def zipped(files: dict[str, bytes]) -> bytes:
    """A ZIP of the files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return stream.getvalue()


FOLDERS = [
    Folder(check.name, rule.name, sample.name.startswith("bad-"), sample)
    for check in sorted(ROOT.iterdir())
    for rule in sorted(check.iterdir())
    for sample in sorted(rule.iterdir())
] + [Folder("secrets", rule, claim.startswith("bad-"), Path(claim), files) for rule, claim, files in SECRETS]
