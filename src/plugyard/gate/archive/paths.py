"""The rules on a single path of an archive, whichever format it came from. ``contents.Contents.enter`` calls it."""

import re
import unicodedata

from plugyard.gate.findings import Findings
from plugyard.gate.limits import GateLimits

# Windows opens a device for these names, with any extension and with superscript digits too (learn.microsoft.com,
# "Naming Files, Paths, and Namespaces").
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\..*)?", re.IGNORECASE | re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:")
_FORBIDDEN = frozenset('\\:*?"<>|')


def checked(raw: str, limits: GateLimits, findings: Findings, *, folder: bool) -> str | None:
    """The path without a leading ``./`` and without a folder's slash; ``None`` where a rule refuses it.

    The package's own root (``.`` or ``./`` in a TAR) is an empty string. Every rule that is broken is reported.
    """
    path = raw
    while path.startswith("./"):
        path = path[2:]
    if folder:
        path = path.removesuffix("/")
        if path == "." or (not path and raw.startswith("./")):
            return ""
    before = _problems(raw, path, limits)
    for rule, what in before:
        findings.add(rule, raw or "(empty path)", what)
    return None if before else path


def _problems(raw: str, path: str, limits: GateLimits) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    size = len(raw.encode("utf-8", "surrogatepass"))
    if size > limits.path_bytes:
        found.append(("archive.path-length", f"has {size} bytes; {limits.path_bytes} are allowed"))
    parts = path.split("/")
    if len(parts) > limits.path_depth:
        found.append(("archive.path-depth", f"lies {len(parts)} levels deep; {limits.path_depth} are allowed"))
    hidden = next((c for c in path if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")), None)
    if hidden is not None:
        found.append(("archive.path-control", f"holds the character U+{ord(hidden):04X}"))
    if path.startswith("/"):
        found.append(("archive.path-absolute", "begins with a slash"))
        parts = path.lstrip("/").split("/")
    if _DRIVE.match(path):
        found.append(("archive.path-windows", "begins with a drive letter"))
    elif bad := sorted(_FORBIDDEN & set(path)):
        found.append(("archive.path-windows", f"holds {' '.join(bad)}"))
    return found + _segment_problems(parts)


def _segment_problems(parts: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    # A backslash separates on Windows, so the parts between are looked at as well.
    finer = [piece for part in parts for piece in part.split("\\")]
    if ".." in finer:
        found.append(("archive.path-traversal", "holds the part '..'"))
    if "" in parts or "." in parts:
        found.append(("archive.path-segments", "has an empty part or a part '.'"))
    for piece in finer:
        if piece in ("", ".", ".."):
            continue
        if _DEVICE.fullmatch(piece):
            found.append(("archive.path-reserved", f"holds {piece}, which Windows reserves"))
        if piece[-1] in ". " or piece[0] == " ":
            found.append(("archive.path-trailing", f"holds the part {piece!r}"))
    return found
