"""The check itself: one function from an open file to everything there is to say about it.

The jailed process calls it for the service (``inside/__main__``), the command line on the author's own machine. It
opens nothing, writes nothing and keeps no more than the text that the plugin will be given.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO

from plugyard.application.ports import Inspection
from plugyard.domain.manifest import Runtime
from plugyard.domain.report import Component, Report
from plugyard.domain.rules import Rule
from plugyard.gate import bill, component, manifest
from plugyard.gate.archive import open_archive
from plugyard.gate.archive.contents import MANIFEST, Contents
from plugyard.gate.checks import CHECKS
from plugyard.gate.findings import Findings
from plugyard.gate.limits import GateLimits
from plugyard.gate.malware import report_known
from plugyard.gate.package import NOTHING, Knowledge, Package
from plugyard.gate.rules import RULES
from plugyard.gate.source import read_sources

_CHUNK = 1 << 20


def inspect(
    file: BinaryIO,
    limits: GateLimits,
    digest: str | None = None,
    *,
    rules: Mapping[str, Rule | None] = RULES,
    knowledge: Knowledge = NOTHING,
) -> Inspection:
    """Check a package. ``file`` is seekable; ``digest`` is its SHA-256 where the caller has it, else it is computed.

    Whatever the bytes, this ends and raises nothing but the file's own ``OSError``, and ``MemoryError``.
    """
    began = time.perf_counter()
    total = file.seek(0, os.SEEK_END)
    findings = Findings(limits.findings, rules)
    contents = Contents(limits, findings)
    form = open_archive.read(file, total, contents)
    digest = digest or _digest(file)
    checked, bundle = manifest.Checked(), None
    components: tuple[Component, ...] = ()
    if form:
        checked = _check_manifest(contents, findings)
        texts = _texts(contents, findings)
        package = _package(contents, checked, texts, digest, knowledge)
        components = _components(package, findings)
        package = replace(package, components=components)
        _run_checks(package, findings)
        bundle = _code(contents, checked, texts, findings)
    report_known(knowledge.malware, digest, contents.digests, components, findings)
    if bundle is None and not findings.refused:
        # A rule that would have said why is off; what cannot be run is not let in all the same.
        what = "there is nothing in it to run, and the rule that says why is off"
        findings.add("gate.could-not-run", "the package", what)
    report = Report(
        findings=findings.all(),
        digest=digest,
        format=form,
        packed_bytes=total,
        unpacked_bytes=contents.unpacked,
        entries=contents.entries,
        took_ms=(time.perf_counter() - began) * 1000,
        components=components,
    )
    if report.refused:
        return Inspection(report, checked.document, digests=contents.digests)
    return Inspection(report, checked.document, checked.entry, bundle, contents.digests)


def _package(
    contents: Contents, checked: manifest.Checked, texts: Mapping[str, str], digest: str, knowledge: Knowledge
) -> Package:
    component = contents.components.get(checked.entry or "") if checked.runtime is Runtime.WASM else None
    return Package(
        digest,
        checked.document,
        checked.runtime,
        checked.entry,
        contents.files,
        texts,
        contents.others,
        contents.digests,
        component,
        knowledge,
        sources=read_sources(texts),
    )


def _components(package: Package, findings: Findings) -> tuple[Component, ...]:
    try:
        return bill.components(package)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, AttributeError) as error:
        what = f"the bill of materials broke: {type(error).__name__}: {error}"
        findings.add("gate.could-not-run", "the package", what)
        return ()


def _run_checks(package: Package, findings: Findings) -> None:
    """Run every check; one that breaks is a finding that refuses, for nobody knows what it would have found."""
    for check in CHECKS:
        if check.run is None:
            continue
        try:
            check.run(package, findings)
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, AttributeError) as error:
            what = f"the check {check.name} broke: {type(error).__name__}: {error}"
            findings.add("gate.could-not-run", "the package", what)


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


def _code(contents: Contents, checked: manifest.Checked, texts: Mapping[str, str], findings: Findings) -> bytes | None:
    """What an environment will be given: the text files of a package, or its component."""
    if checked.runtime is Runtime.WASM:
        return _component(contents, checked.entry, findings)
    if checked.entry is None or checked.entry not in texts or findings.refused:
        return None
    bundle = {"entry": checked.entry, "files": texts}
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()


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


def _texts(contents: Contents, findings: Findings) -> dict[str, str]:
    """The text files as the plugin receives them, by path; none where they are more than a bundle may hold."""
    if contents.text_bytes > contents.limits.bundle_bytes:
        largest = sorted(contents.text_sizes.items(), key=lambda one: -one[1])[:3]
        named = ", ".join(f"{path} ({size} bytes)" for path, size in largest)
        what = f"the text files have {contents.text_bytes} bytes, {contents.limits.bundle_bytes} are allowed"
        what += f"; the largest are {named}"
        findings.add("bundle.too-large", largest[0][0] if largest else "the package", what)
        return {}
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
    return texts


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
