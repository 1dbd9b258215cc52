"""Addresses in the code that tell what it is for."""

import re

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package
from plugyard.gate.source.addresses import COLLECTORS, METADATA, MINERS
from plugyard.gate.source.facts import Source

_RULES = (
    Rule(
        "code.miner",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "a mining pool is named",
        "The tenant pays for what others earn.",
        "Leave it out.",
    ),
    Rule(
        "code.collector",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "an address is named that collects what is sent to it for anybody",
        "Such addresses belong to nobody who could be asked, and are where stolen data goes.",
        "Send to a host of your own, and name it in the permission.",
    ),
    Rule(
        "code.metadata-address",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "an address is named that gives a machine's own credentials",
        "It cannot be reached from the sandbox, and nobody who is honest tries.",
        "Leave it out.",
    ),
    Rule(
        "code.private-address",
        Severity.INFO,
        Consequence.SHOW,
        "a private address is named",
        "Private networks cannot be reached but where the operator opens one.",
        "Name a public host, or ask the operator for network_allowed.",
    ),
    Rule(
        "code.number-address",
        Severity.WARNING,
        Consequence.SHOW,
        "a public address is named by its numbers",
        "Nobody can tell whose it is, and no permission can name it.",
        "Use the host's name.",
    ),
)
_NUMBERS = re.compile(r"\b(?:https?|wss?)://(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\b")
_LOOPBACK = re.compile(r"\bhttps?://(?:localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)(?![\w.-])", re.IGNORECASE)
_TELLING = (
    ("code.miner", MINERS),
    ("code.collector", COLLECTORS),
    ("code.metadata-address", METADATA),
)


def _run(package: Package, findings: Findings) -> None:
    for source in package.sources.values():
        for one in source.texts:
            if "." in one.value or "://" in one.value:
                _look(source, one.value, one.line, findings)


def _look(source: Source, value: str, line: int, findings: Findings) -> None:
    for rule, pattern in _TELLING:
        match = pattern.search(value)
        if match is not None:
            findings.add(rule, source.path, f"names {match[0]}", line=line)
            return
    if source.vendored:
        return
    numbers = _NUMBERS.search(value)
    if numbers is not None:
        first, second = int(numbers[1]), int(numbers[2])
        private = first in (0, 10, 127) or (first, second) == (192, 168) or (first == 172 and 16 <= second < 32)
        findings.add(
            "code.private-address" if private else "code.number-address", source.path, f"names {numbers[0]}", line=line
        )
    elif _LOOPBACK.search(value):
        findings.add("code.private-address", source.path, "names this machine itself", line=line)


CHECK = Check("telling-addresses", "Addresses in the code that tell what it is for.", _RULES, _run)
