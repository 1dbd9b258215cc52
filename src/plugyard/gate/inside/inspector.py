"""The role ``inspect`` of the gate's zygote: close the jail, read one package, answer, end."""

import io
import json
import socket
import tarfile
import zipfile
from collections.abc import Mapping

from plugyard.application.ports import Inspection
from plugyard.domain.report import Report
from plugyard.domain.rules import RuleSettings
from plugyard.gate import answer, semantics
from plugyard.gate.findings import Findings
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.gate.rules import RULES, effective
from plugyard.sandbox import jail, wire
from plugyard.sandbox.inside.zygote import Params, Role

_ENFORCED, _DIGEST, _DIGESTS, _RULES = "enforced", "digest", "digests", "rules"


def prepare() -> Mapping[str, Role]:
    """Load everything that a check can need, for once the jail is closed no file can be opened any more."""
    semantics.time_zones()
    for package in _rehearsals():
        answer.encode(inspect(io.BytesIO(package), GateLimits(), "0" * 64))
    return {"inspect": _inspect}


def _inspect(channel: socket.socket, descriptors: list[int], params: Params) -> None:
    values = dict(params)
    enforced, digest = bool(values.pop(_ENFORCED)), str(values.pop(_DIGEST))
    with_digests = bool(values.pop(_DIGESTS))
    rules = effective(RuleSettings.of(str(values.pop(_RULES)).splitlines(), RULES))
    # The service made these values out of a GateLimits.
    limits = GateLimits(**values)  # type: ignore[arg-type]
    config = jail.JailConfig(enforced=enforced, data_bytes=limits.memory_bytes, reads_files=True)
    (package,) = descriptors
    jail.close(config, [channel.fileno(), package])
    try:
        with open(package, "rb", closefd=False) as file:
            inspection = inspect(file, limits, digest, rules=rules)
    except MemoryError:
        findings = Findings(1, RULES)
        what = f"the check needed more than {limits.memory_bytes} bytes of memory"
        findings.add("gate.could-not-run", "the package", what)
        inspection = Inspection(Report(findings=findings.all()))
    wire.send(channel, answer.encode(inspection, with_digests=with_digests))


def _rehearsals() -> list[bytes]:
    """Small packages with much wrong in them: checking them loads the codecs and tables that Python loads late."""
    wrong = {
        "metadata": {"name": "A\u00e9", "version": "v1", "nmae": 1},
        "dependencies": {"node": ">=18", "plugins": {"x": "?"}},
        "configuration": {"type": "object", "properties": {"a": {"type": "strin", "pattern": "(?=x)"}}},
        "functions": {"f": {"input": {"$ref": "#/$defs/none"}, "output": {"pattern": "^a+$", "default": 1}}},
        "security": {"resourceLimits": {"memory": 64.0}},
        "schedules": [{"cron": "x", "function": "f", "timeZone": "Nowhere"}],
    }
    files = {
        "plugin.json": json.dumps(wrong).encode(),
        "index.ts": b"\xef\xbb\xbfexport {}",
        "caf\u00e9/\u202e\x01.txt": b"\xff\xfe",
        "CON.js": b"\0",
        "words.dat": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.AAAA".encode("utf-16"),
        # Each language's reader, and what the checks on code load late.
        "lib/a.py": b"import os as o\nx = eval(o.getenv('a'))\nclass A:\n    y: int = 1\n",
        "lib/b.js": b"import c from 'c';\nexport const f = (a) => new Function(a)(atob('YQ=')) + '\\x41'; //\n",
        "lib/c.ts": b"export function f(a: string): number { return eval(a) as number }\n",
    }
    packed, taped = io.BytesIO(), io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        tarfile.open(fileobj=taped, mode="w:gz") as tape,
    ):
        for name, data in files.items():
            archive.writestr(name, data)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tape.addfile(member, io.BytesIO(data))
    return [packed.getvalue(), taped.getvalue(), packed.getvalue()[:-30], b"%PDF-", taped.getvalue()[:-12]]
