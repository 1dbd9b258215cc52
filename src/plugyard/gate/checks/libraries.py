"""What there is to say of the libraries in a package; which they are, ``gate/bill.py`` recognises."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.licences import is_copyleft
from plugyard.gate.package import Package

_RULES = (
    Rule(
        "library.no-licence",
        Severity.INFO,
        Consequence.SHOW,
        "a library comes without a licence",
        "Without one nobody may pass the library on, and the plugin with it.",
        "Put the library's licence file beside it, or name the licence in its metadata.",
    ),
    Rule(
        "library.copyleft",
        Severity.WARNING,
        Consequence.SHOW,
        "a library is under the GPL or the AGPL",
        "They ask that whoever receives or uses the plugin can have its source under the same licence.",
        "Publish the plugin's source under that licence, or use another library.",
    ),
    Rule(
        "library.two-versions",
        Severity.WARNING,
        Consequence.SHOW,
        "a library is there in two versions",
        "They take room twice, and objects of one are not those of the other.",
        "Keep one of them.",
    ),
)


def _run(package: Package, findings: Findings) -> None:
    versions: dict[str, set[str]] = {}
    for one in package.components:
        if one.purl.startswith("pkg:generic/"):
            # A compiler leaves its name in a binary, and nothing of itself.
            continue
        if not one.licences:
            findings.add("library.no-licence", one.path, f"{one.name} {one.version or ''} names no licence".strip())
        for licence in one.licences:
            if is_copyleft(licence):
                findings.add("library.copyleft", one.path, f"{one.name} is under {licence}")
        if one.version is not None:
            others = versions.setdefault(one.name.lower(), set())
            if others and one.version not in others:
                named = ", ".join(sorted(others))
                what = f"{one.name} is {one.version} here and {named} elsewhere"
                findings.add("library.two-versions", one.path, what)
            others.add(one.version)


CHECK = Check("libraries", "Licences and versions of the libraries in a package.", _RULES, _run)
