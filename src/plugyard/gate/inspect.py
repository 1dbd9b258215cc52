"""The check itself: one function from an open file to everything there is to say about it.

The jailed process calls it for the service (``inside/__main__``), the command line on the author's own machine. It
opens nothing, writes nothing and keeps no more than the text that the plugin will be given.
"""

import hashlib
import json
import os
import time
from typing import BinaryIO

from plugyard.application.ports import Inspection
from plugyard.domain.manifest import Runtime
from plugyard.domain.report import Report
from plugyard.gate import component, manifest
from plugyard.gate.archive import open_archive
from plugyard.gate.archive.contents import MANIFEST, Contents
from plugyard.gate.findings import Findings
from plugyard.gate.limits import GateLimits

_DEBRIS_FOLDERS = frozenset({"__MACOSX", "__pycache__", ".git", ".svn", ".hg", ".idea", ".vscode", "node_modules"})
_DEBRIS_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_CHUNK = 1 << 20


def inspect(file: BinaryIO, limits: GateLimits, digest: str | None = None) -> Inspection:
    """Check a package. ``file`` is seekable; ``digest`` is its SHA-256 where the caller has it, else it is computed.

    Whatever the bytes, this ends and raises nothing but the file's own ``OSError``.
    """
    began = time.perf_counter()
    total = file.seek(0, os.SEEK_END)
    findings = Findings(limits.findings)
    contents = Contents(limits, findings)
    form = open_archive.read(file, total, contents)
    checked = manifest.Checked()
    if form:
        checked = _check_manifest(contents, findings)
        _warn_of_debris(contents, findings)
    bundle = _code(contents, checked, findings) if form else None
    report = Report(
        findings=findings.all(),
        digest=digest or _digest(file),
        format=form,
        packed_bytes=total,
        unpacked_bytes=contents.unpacked,
        entries=contents.entries,
        took_ms=(time.perf_counter() - began) * 1000,
    )
    if report.refused:
        return Inspection(report, checked.document)
    return Inspection(report, checked.document, checked.entry, bundle)


def _check_manifest(contents: Contents, findings: Findings) -> manifest.Checked:
    prefix = ""
    if MANIFEST not in contents.files:
        wrapper = _wrapper(contents)
        if not contents.files:
            # Where a finding says why nothing could be read, that the package seems empty is no news.
            if not findings.refused:
                findings.add("package.empty", "the package", "holds no file")
            return manifest.Checked()
        if wrapper is None:
            if contents.complete:
                near = next((path for path in contents.files if path.rsplit("/", 1)[-1].lower() == MANIFEST), None)
                hint = f"; there is {near}" if near else ""
                findings.add("manifest.missing", MANIFEST, f"is not at the root of the package{hint}")
            return manifest.Checked()
        prefix = wrapper + "/"
        mend = f"Pack from inside the folder: cd {wrapper} && zip -r ../{wrapper}.zip ."
        findings.add("package.wrapped", wrapper, f"everything lies in the folder {wrapper}", mend=mend)
    data = contents.text.get(prefix + MANIFEST)
    if data is None:
        # It is damaged or beyond a cap, and a finding says so already.
        return manifest.Checked()
    paths = {path.removeprefix(prefix) for path in contents.files if path.startswith(prefix)}
    return manifest.check(data, prefix + MANIFEST, paths, contents.limits, findings)


def _wrapper(contents: Contents) -> str | None:
    """The one folder that holds everything, where it holds a manifest too."""
    tops = {path.split("/", 1)[0] for path in contents.files} - {"__MACOSX"}
    top = next(iter(tops)) if len(tops) == 1 else None
    return top if top is not None and f"{top}/{MANIFEST}" in contents.files else None


def _warn_of_debris(contents: Contents, findings: Findings) -> None:
    told: set[str] = set()
    for path in contents.files:
        parts = path.split("/")
        folder = next((at for at, part in enumerate(parts[:-1]) if part in _DEBRIS_FOLDERS), None)
        if folder is not None:
            place = "/".join(parts[: folder + 1])
            if place not in told:
                told.add(place)
                findings.add("package.debris", place, "is a folder that a plugin does not need")
        elif parts[-1] in _DEBRIS_FILES or parts[-1].startswith("._"):
            findings.add("package.debris", path, "is a file that a desktop left behind")


def _code(contents: Contents, checked: manifest.Checked, findings: Findings) -> bytes | None:
    """What an environment will be given: the text files of a package, or its component."""
    if checked.runtime is Runtime.WASM:
        return _component(contents, checked.entry, findings)
    return _bundle(contents, checked.entry, findings)


def _component(contents: Contents, entry: str | None, findings: Findings) -> bytes | None:
    if entry is None:
        return None
    data = contents.components.get(entry)
    if data is None:
        what = f"has {contents.files[entry]} bytes, {contents.limits.bundle_bytes} are allowed for a component"
        findings.add(
            "bundle.too-large", entry, what, mend="Build it for size and strip it of names and debug sections."
        )
        return None
    component.check(data, entry, findings)
    return None if findings.refused else data


def _bundle(contents: Contents, entry: str | None, findings: Findings) -> bytes | None:
    """The text files as the plugin receives them: JSON of ``entry`` and ``files``, each file's text by its path."""
    if contents.text_bytes > contents.limits.bundle_bytes:
        largest = sorted(contents.text_sizes.items(), key=lambda one: -one[1])[:3]
        named = ", ".join(f"{path} ({size} bytes)" for path, size in largest)
        what = f"the text files have {contents.text_bytes} bytes, {contents.limits.bundle_bytes} are allowed"
        what += f"; the largest are {named}"
        findings.add("bundle.too-large", largest[0][0] if largest else "the package", what)
        return None
    texts: dict[str, str] = {}
    for path, data in contents.text.items():
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            if path != MANIFEST:
                findings.add("bundle.not-text", path, f"is not UTF-8, first on line {line}", line=line)
            continue
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            findings.add("bundle.not-text", path, f"holds a NUL character, first on line {line}", line=line)
        texts[path] = text
    if entry is None or findings.refused:
        return None
    return json.dumps({"entry": entry, "files": texts}, ensure_ascii=False, separators=(",", ":")).encode()


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
