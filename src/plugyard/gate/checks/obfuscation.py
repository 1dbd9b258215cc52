"""Code that was made hard to read on purpose."""

import math
import re
from collections import Counter

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package
from plugyard.gate.source.facts import Source

_RULES = (
    Rule(
        "code.obfuscated",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "the names are those of an obfuscator",
        "Its author did not want it to be read.",
        "Ship the code as it was written.",
    ),
    Rule(
        "code.escaped-name",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "a name is spelt with escapes",
        "It is the same name to the engine and another one to whoever searches for it.",
        "Write the name in plain letters.",
    ),
    Rule(
        "code.escaped-text",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "plain words are spelt with escapes",
        "They are the same words to the engine and no words to whoever searches for them.",
        "Write the text in plain letters.",
    ),
    Rule(
        "code.packed-text",
        Severity.WARNING,
        Consequence.SHOW,
        "a long text of extreme entropy",
        "Nobody can see what it is: data, or code that is unpacked somewhere else.",
        "Keep data in a file of its own whose extension says what it is.",
    ),
)
_OBFUSCATED = re.compile(r"\b_0x[0-9a-f]{2,8}\b")
_MANY, _ESCAPES = 5, 4
_TELLING = re.compile(
    r"eval|exec|child_process|constructor|prototype|process|require|Function|fetch|import|atob|__\w+__"
)
_LONG, _EXTREME = 2_048, 5.6
# What begins so in base64 is a picture, a font, an archive or a WebAssembly module, and says so.
_KNOWN = (
    "iVBORw0KGgo",
    "/9j/",
    "R0lGOD",
    "UklGR",
    "d09GR",
    "d09GMg",
    "AAEAAAA",
    "UEsDB",
    "H4sI",
    "AGFzbQ",
    "PHN2Zy",
    "JVBERi0",
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]+\Z")


def _run(package: Package, findings: Findings) -> None:
    for source in package.sources.values():
        names = {name for name, _ in source.identifiers if _OBFUSCATED.match(name)}
        if len(names) >= _MANY:
            line = next(line for name, line in source.identifiers if name in names)
            findings.add("code.obfuscated", source.path, f"{len(names)} names like {min(names)}", line=line)
        for name, line in source.escaped:
            if name.isascii():
                findings.add("code.escaped-name", source.path, f"{name} is spelt with escapes", line=line)
        _texts(source, findings)


def _texts(source: Source, findings: Findings) -> None:
    for one in source.texts:
        value = one.value
        if one.escapes >= _ESCAPES and one.escapes * 2 >= len(value) and _TELLING.search(value):
            findings.add("code.escaped-text", source.path, f"{value[:40]!r} is spelt with escapes", line=one.line)
        if len(value) < _LONG or source.vendored:
            continue
        payload = value.partition(";base64,")[2] or value
        if _BASE64.match(payload) and not payload.startswith(_KNOWN) and _entropy(payload) > _EXTREME:
            findings.add(
                "code.packed-text", source.path, f"a text of {len(value)} characters without words", line=one.line
            )


def _entropy(text: str) -> float:
    """Bits for each character (Shannon), of the first 64 KiB."""
    sample = text[:65_536]
    return -sum(count / len(sample) * math.log2(count / len(sample)) for count in Counter(sample).values())


CHECK = Check("obfuscation", "Code that was made hard to read.", _RULES, _run)
