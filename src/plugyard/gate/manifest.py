"""Checks plugin.json: its text, its shape, its meaning, and that the files it names are in the package.

``inspect`` calls ``check`` with the text that it found, and learns the runtime and the entry file.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from plugyard.domain.manifest import DEFAULT_ENTRIES, Runtime
from plugyard.gate import definition, semantics, strictjson
from plugyard.gate.findings import Findings
from plugyard.gate.limits import GateLimits
from plugyard.gate.strictjson import Document

_EXTENSIONS = {
    Runtime.JAVASCRIPT: (".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"),
    Runtime.PYTHON: (".py",),
    Runtime.WASM: (".wasm",),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """The manifest as its author wrote it, with what the gate concluded; ``None`` for what it could not."""

    document: dict[str, Any] | None = None
    runtime: Runtime | None = None
    entry: str | None = None


def check(
    data: bytes,
    file: str,
    paths: Collection[str],
    limits: GateLimits,
    findings: Findings,
    *,
    with_schemas: bool = True,
) -> Checked:
    """Report everything that is wrong with a manifest. ``paths`` are the package's files, relative to the manifest.

    ``with_schemas=False`` leaves out the author's own schemas, the one part that can take long.
    """
    document = strictjson.parse(data, file, limits, findings)
    if document is None:
        return Checked()
    definition.check(document, findings)
    if not isinstance(document.value, dict):
        return Checked()
    runtime = semantics.infer_runtime(document, findings)
    semantics.check(document, runtime, findings)
    if with_schemas:
        semantics.check_schemas(document, findings)
    entry = _entry(document, runtime, paths, findings)
    icon = document.value.get("metadata", {}).get("icon") if isinstance(document.value.get("metadata"), dict) else None
    if isinstance(icon, str) and icon not in paths:
        pointer = "/metadata/icon"
        findings.add("manifest.icon-missing", document.where(pointer), f"{icon} is not in the package",
                     line=document.line(pointer))  # fmt: skip
    return Checked(document.value, runtime, entry)


def _entry(document: Document, runtime: Runtime | None, paths: Collection[str], findings: Findings) -> str | None:
    named = document.value.get("entry")
    if named is None:
        if runtime is None:
            return None
        entry = next((path for path in DEFAULT_ENTRIES[runtime] if path in paths), None)
        if entry is None:
            what = f"the package holds none of {', '.join(DEFAULT_ENTRIES[runtime])}"
            findings.add("manifest.entry-missing", document.where(""), what)
        return entry
    if not isinstance(named, str):
        return None
    where, line = document.where("/entry"), document.line("/entry")
    if runtime is not None and not named.endswith(_EXTENSIONS[runtime]):
        findings.add("manifest.entry-kind", where, f"{named} is no file that {runtime.value} loads", line=line)
        return None
    if named not in paths:
        findings.add("manifest.entry-missing", where, f"{named} is not in the package", line=line)
        return None
    return named
