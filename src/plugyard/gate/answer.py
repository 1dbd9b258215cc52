"""What the jailed process says to the service about a package, and how the service reads it.

``inside`` writes with ``encode``; ``jailed`` reads with ``decode``. The process met hostile bytes, so its answer is
taken for no more than a claim: rules keep the severity and the words of our own table, the digest and the size are the
service's own, and a manifest that is said to be fine is checked once more.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from plugyard.application.ports import Inspection
from plugyard.domain.manifest import DEFAULT_ENTRIES, Runtime
from plugyard.domain.report import Component, Report
from plugyard.domain.rules import Rule
from plugyard.gate import component, manifest
from plugyard.gate.archive.contents import MANIFEST
from plugyard.gate.findings import Findings
from plugyard.gate.limits import GateLimits
from plugyard.gate.malware import NOTHING_KNOWN, MalwareList, report_known
from plugyard.gate.package import MOST_COMPONENTS
from plugyard.gate.rules import RULES
from plugyard.sandbox import wire

_Text = Annotated[str, msgspec.Meta(max_length=2_000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]
_File = tuple[_Text, Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]]
_MAX_JSON_DEPTH = 64


class Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One finding, without what the rule's table says anyway."""

    rule: _Text
    where: _Text
    what: _Text
    mend: _Text
    line: _Count | None


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One library of the bill of materials."""

    name: _Text
    version: _Text | None
    purl: _Text
    licences: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=20)]
    path: _Text
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class InspectionFrame(wire.Frame, frozen=True, tag="inspection"):
    """The whole answer. ``document`` is the manifest as JSON and ``bundle`` the bundle; empty where there is none."""

    form: Annotated[str, msgspec.Meta(max_length=10)]
    unpacked_bytes: _Count
    entries: _Count
    took_ms: Annotated[float, msgspec.Meta(ge=0)]
    findings: Annotated[tuple[Row, ...], msgspec.Meta(max_length=2_000)]
    document: bytes
    entry: _Text
    bundle: bytes
    components: Annotated[tuple[Part, ...], msgspec.Meta(max_length=MOST_COMPONENTS)] = ()
    files: Annotated[tuple[_File, ...], msgspec.Meta(max_length=20_000)] = ()  # path and SHA-256


class _Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: str
    files: dict[str, str]


_decoder = msgspec.msgpack.Decoder(InspectionFrame)
_bundle_decoder = msgspec.json.Decoder(_Bundle)


class UntrueAnswer(Exception):
    """The jailed process answered something that an honest one does not."""


def encode(inspection: Inspection, *, with_digests: bool = False) -> InspectionFrame:
    """The frame that carries an inspection, and the digests of all files where the service will compare them."""
    report = inspection.report
    rows = tuple(Row(one.rule, one.where, one.what, one.mend, one.line) for one in report.findings)
    document = b"" if inspection.manifest is None else json.dumps(inspection.manifest).encode()
    return InspectionFrame(
        report.format,
        report.unpacked_bytes,
        report.entries,
        report.took_ms,
        rows,
        document,
        inspection.entry or "",
        inspection.bundle or b"",
        tuple(Part(**dataclasses.asdict(one)) for one in report.components),
        tuple((path, bytes.fromhex(one)) for path, one in inspection.digests.items()) if with_digests else (),
    )


def decode(
    body: bytes,
    limits: GateLimits,
    *,
    digest: str,
    size: int,
    rules: Mapping[str, Rule | None] = RULES,
    malware: MalwareList = NOTHING_KNOWN,
) -> Inspection:
    """The inspection in a frame's body; raises ``UntrueAnswer``, whatever the bytes are.

    What is in ``malware`` is found here, where the list is: by ``digest``, which is the service's own, and by the
    digests and libraries that the process claims to have met.
    """
    try:
        frame = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UntrueAnswer(str(error)) from error
    findings = Findings(limits.findings + 1, rules)
    for row in frame.findings:
        if row.rule not in RULES:
            raise UntrueAnswer(f"there is no rule {row.rule!r}")
        findings.add(row.rule, row.where, row.what, mend=row.mend, line=row.line)
    components = tuple(Component(**msgspec.structs.asdict(part)) for part in frame.components)
    files = {path: one.hex() for path, one in frame.files}
    report_known(malware, digest, files, components, findings)
    report = Report(
        findings=findings.all(),
        digest=digest,
        format=frame.form,
        packed_bytes=size,
        unpacked_bytes=frame.unpacked_bytes,
        entries=frame.entries,
        took_ms=frame.took_ms,
        components=components,
    )
    if report.refused:
        return Inspection(report, _document(frame.document, limits) if frame.document else None)
    return _accepted(frame, report, limits)


def _accepted(frame: InspectionFrame, report: Report, limits: GateLimits) -> Inspection:
    """What is let in must hold together: the manifest by itself, the entry, and the bundle that has it."""
    document = _document(frame.document, limits)
    files = _files(frame, document)
    icon = document.get("metadata", {}).get("icon") if isinstance(document.get("metadata"), dict) else None
    again = Findings(limits.findings, RULES)
    # The icon need not be text, so that it is in the package is the one thing that is taken on trust.
    present = {*files, *([icon] if isinstance(icon, str) else [])}
    text = json.dumps(document).encode()
    # The author's schemas were checked in the jail; doing it again could hold up the service for seconds.
    checked = manifest.check(text, MANIFEST, present, _roomier(limits), again, with_schemas=False)
    if again.refused or checked.entry != frame.entry or checked.runtime not in DEFAULT_ENTRIES:
        raise UntrueAnswer("the manifest does not pass")
    return Inspection(report, document, frame.entry, frame.bundle)


def _files(frame: InspectionFrame, document: dict[str, Any]) -> set[str]:
    """The files that are known to be in the package; a component is its only one."""
    if document.get("runtime") == Runtime.WASM:
        # What it is beyond its first bytes, the compiler will see.
        if not frame.bundle.startswith(component.PREAMBLE):
            raise UntrueAnswer("the component is none")
        return {frame.entry}
    try:
        bundle = _bundle_decoder.decode(frame.bundle)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UntrueAnswer("the bundle is malformed") from error
    if bundle.entry != frame.entry or frame.entry not in bundle.files:
        raise UntrueAnswer("the entry is not in the bundle")
    return set(bundle.files)


def _roomier(limits: GateLimits) -> GateLimits:
    """The same limits with room for escapes: a manifest that is written again can be longer than its author's text."""
    return dataclasses.replace(limits, manifest_bytes=limits.manifest_bytes * 6)


def _document(data: bytes, limits: GateLimits) -> dict[str, Any]:
    if len(data) > limits.manifest_bytes * 6 or not wire.json_depth_within(data, _MAX_JSON_DEPTH):
        raise UntrueAnswer("the manifest is too large or too deep")
    try:
        document = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UntrueAnswer("the manifest is malformed") from error
    if not isinstance(document, dict):
        raise UntrueAnswer("the manifest is no object")
    return document
