"""Files and folders that a desktop or a version control system left behind."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package

_FOLDERS = frozenset({"__MACOSX", "__pycache__", ".git", ".svn", ".hg", ".idea", ".vscode", "node_modules"})
_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_RULES = (
    Rule(
        "package.debris",
        Severity.WARNING,
        Consequence.SHOW,
        "a file is left over from a desktop or a version control system",
        "It does nothing in the package but take room, and it may tell more than its author wants.",
        "Leave it out when packing, for example with zip -x or tar --exclude.",
    ),
)


def _run(package: Package, findings: Findings) -> None:
    told: set[str] = set()
    for path in package.files:
        parts = path.split("/")
        folder = next((at for at, part in enumerate(parts[:-1]) if part in _FOLDERS), None)
        if folder is not None:
            place = "/".join(parts[: folder + 1])
            if place not in told:
                told.add(place)
                findings.add("package.debris", place, "is a folder that a plugin does not need")
        elif parts[-1] in _FILES or parts[-1].startswith("._"):
            findings.add("package.debris", path, "is a file that a desktop left behind")


CHECK = Check("debris", "Files that a desktop or a version control system left behind.", _RULES, _run)
