"""What lies inside a WebAssembly component: memory, start functions, and what its data tell."""

import math
from collections import Counter
from typing import Any

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package
from plugyard.gate.source.addresses import COLLECTORS, METADATA, MINERS
from plugyard.gate.source.wasm import PAGE_BYTES, core_modules

_RULES = (
    Rule(
        "component.memory",
        Severity.WARNING,
        Consequence.SHOW,
        "the component needs more memory than its manifest asks for",
        "It could not be instantiated within its limit.",
        "Raise security.resourceLimits.memory, or build with a smaller initial memory.",
    ),
    Rule(
        "component.start",
        Severity.INFO,
        Consequence.SHOW,
        "a core module runs code when it is instantiated",
        "It runs before any function is called, within the limit of loading.",
        "Nothing to do where the language's library needs it.",
    ),
    Rule(
        "component.marks",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "the data of the component name a mining pool or a collector",
        "It tells what the component is for, and no reader sees it in the binary.",
        "Leave it out, and call hosts through the http service with a permission.",
    ),
    Rule(
        "component.packed",
        Severity.INFO,
        Consequence.SHOW,
        "the data of the component have extreme entropy",
        "They are compressed or encrypted, so nobody can see what they are.",
        "Ship data as it is; the package is compressed anyway.",
    ),
)
_DEFAULT_MB, _MB = 128, 1 << 20
_LEAST_BYTES, _EXTREME = 65_536, 7.8


def _run(package: Package, findings: Findings) -> None:
    if package.component is None or package.entry is None:
        return
    modules = core_modules(package.component)
    needed, allowed = sum(one.pages for one in modules) * PAGE_BYTES, _memory_mb(package.document) * _MB
    if needed > allowed:
        findings.add("component.memory", package.entry, f"declares {needed} bytes of memory; {allowed} are asked for")
    if any(one.starts for one in modules):
        findings.add("component.start", package.entry, "has a start function")
    for one in modules:
        text = one.data.decode("latin-1")
        for pattern in (MINERS, COLLECTORS, METADATA):
            match = pattern.search(text)
            if match is not None:
                findings.add("component.marks", package.entry, f"its data name {match[0]}")
        if len(one.data) >= _LEAST_BYTES and _entropy(one.data) > _EXTREME:
            findings.add("component.packed", package.entry, f"{len(one.data)} bytes of data without structure")


def _memory_mb(document: Any) -> int:
    security = document.get("security") if isinstance(document, dict) else None
    limits = security.get("resourceLimits") if isinstance(security, dict) else None
    asked = limits.get("memory") if isinstance(limits, dict) else None
    return asked if isinstance(asked, int) else _DEFAULT_MB


def _entropy(data: bytes) -> float:
    """Bits for each byte (Shannon)."""
    return -sum(count / len(data) * math.log2(count / len(data)) for count in Counter(data).values())


CHECK = Check("component-contents", "What lies inside a WebAssembly component.", _RULES, _run)
