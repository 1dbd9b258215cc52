"""What an archive holds, as far as it was read: its tree of paths, its measures, and the text that is kept.

Both readers report every entry here; the rules on names and trees therefore hold for both formats alike.
"""

import hashlib
import unicodedata
from dataclasses import dataclass, field

from plugyard.gate.archive import paths
from plugyard.gate.findings import Findings
from plugyard.gate.limits import GateLimits

MANIFEST = "plugin.json"
CODE_EXTENSIONS = frozenset({"py", "js", "mjs", "cjs", "ts", "mts", "cts", "json"})
RESOURCE_EXTENSIONS = frozenset(
    {"txt", "md", "csv", "toml", "yaml", "yml", "html", "svg", "css", "xml", "sql", "graphql"}
)
COMPONENT_EXTENSION = "wasm"
TEXT_EXTENSIONS = CODE_EXTENSIONS | RESOURCE_EXTENSIONS


# A package may hold more than one; the entry among them is known last.
_COMPONENTS = 4


class Stop(Exception):
    """Reading on is impossible or forbidden; the finding that says why has been added."""


class SkipEntry(Exception):
    """The rest of this entry is not read; the finding that says why has been added."""


@dataclass
class Contents:
    """Grows while an archive is read. ``unpacked`` counts every byte that was inflated, whatever headers declare.

    ``components`` keeps WebAssembly as long as it could be an entry, for the manifest may come behind it; ``others``
    the first bytes of every other file, for the checks; ``digests`` the SHA-256 of each file in hex.
    ``complete`` turns true once every path is known, so that a file's absence means that it is not there.
    """

    limits: GateLimits
    findings: Findings
    unpacked: int = 0
    entries: int = 0
    complete: bool = False
    files: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    text: dict[str, bytes] = field(default_factory=dict)
    text_sizes: dict[str, int] = field(default_factory=dict)
    text_bytes: int = 0
    components: dict[str, bytes] = field(default_factory=dict)
    others: dict[str, bytes] = field(default_factory=dict)
    others_bytes: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    _folded: dict[str, str] = field(default_factory=dict)

    def enter(self, raw_path: str, *, folder: bool) -> str | None:
        """Count an entry and take its path into the tree; the path as it is kept, or ``None`` where it is refused."""
        self.entries += 1
        if self.entries > self.limits.entries:
            self.findings.add("archive.too-many-entries", "the package", f"more than {self.limits.entries} entries")
            raise Stop
        path = paths.checked(raw_path, self.limits, self.findings, folder=folder)
        if not path:
            return None
        if path in self.files and not folder:
            self.findings.add("archive.duplicate", path, "occurs twice in the archive")
            return None
        parts = path.split("/")
        for depth in range(1, len(parts)):
            self._note("/".join(parts[:depth]), folder=True)
        self._note(path, folder=folder)
        return path

    def _note(self, path: str, *, folder: bool) -> None:
        if (path in self.files) if folder else (path in self.folders):
            self.findings.add("archive.file-and-folder", path, "is a file and also a folder that other entries lie in")
        elif path not in self.folders and path not in self.files:
            other = self._folded.setdefault(caseless(path), path)
            if other != path:
                self.findings.add("archive.collision", path, f"is the same name as {other} on many systems")
        if folder:
            self.folders.add(path)
        else:
            self.files.setdefault(path, 0)

    def sink(self, path: str) -> "Sink":
        """Where the bytes of one file go while they are inflated."""
        return Sink(self, path)


class Sink:
    """Counts one entry's bytes against all caps and keeps them where they are text that the plugin will need."""

    def __init__(self, contents: Contents, path: str) -> None:
        self._contents, self.path, self.size, self.packed = contents, path, 0, 0
        name = path.rsplit("/", 1)[-1]
        extension = name.rsplit(".", 1)[-1].lower() if "." in name else ""
        self._is_text = extension in TEXT_EXTENSIONS
        self._component: list[bytes] | None = [] if extension == COMPONENT_EXTENSION else None
        self._is_manifest = path == MANIFEST
        self._kept: list[bytes] | None = [] if self._is_text else None
        self._head: list[bytes] | None = None if self._is_text else []
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes, *, packed: int | None = None) -> None:
        """Take a chunk; ``packed`` is how many compressed bytes this entry has cost so far, where that is known."""
        contents, limits = self._contents, self._contents.limits
        self.size += len(chunk)
        contents.unpacked += len(chunk)
        if contents.unpacked > limits.unpacked_bytes:
            what = f"unpacks to more than {limits.unpacked_bytes} bytes; stopped in {self.path}"
            contents.findings.add("archive.unpacked-too-large", "the package", what)
            raise Stop
        if self.size > limits.entry_bytes:
            what = f"unpacks to more than {limits.entry_bytes} bytes"
            contents.findings.add("archive.entry-too-large", self.path, what)
            raise SkipEntry
        if packed is not None and self.size > limits.ratio_floor_bytes and self.size > limits.ratio * max(packed, 1):
            what = f"unpacks to more than {limits.ratio} times its packed size"
            contents.findings.add("archive.ratio", self.path, what)
            raise SkipEntry
        self._digest.update(chunk)
        if self._kept is not None:
            self._keep(chunk)
        if self._head is not None:
            self._keep_head(chunk)
        if self._component is not None:
            self._component.append(chunk)
            if self.size > limits.bundle_bytes:
                self._component = None

    def _keep(self, chunk: bytes) -> None:
        contents = self._contents
        contents.text_bytes += len(chunk)
        if self._is_manifest:
            # One byte beyond the cap is enough to know that it is too large.
            if self.size - len(chunk) <= contents.limits.manifest_bytes and self._kept is not None:
                self._kept.append(chunk)
        elif contents.text_bytes > contents.limits.bundle_bytes:
            # What is kept can no longer become a bundle. The manifest alone stays, so that it is still checked.
            self._kept = None
            contents.text = {path: text for path, text in contents.text.items() if path == MANIFEST}
        elif self._kept is not None:
            self._kept.append(chunk)

    def _keep_head(self, chunk: bytes) -> None:
        contents, limits = self._contents, self._contents.limits
        before = self.size - len(chunk)
        room = min(limits.kept_file_bytes - before, limits.kept_bytes - contents.others_bytes)
        if room > 0 and self._head is not None:
            self._head.append(chunk[:room])
            contents.others_bytes += min(room, len(chunk))

    def close(self) -> None:
        """The entry ended well: note its size and keep its text."""
        contents = self._contents
        contents.files[self.path] = self.size
        contents.digests[self.path] = self._digest.hexdigest()
        if self._head is not None:
            contents.others[self.path] = b"".join(self._head)
        if self._is_text:
            contents.text_sizes[self.path] = self.size
        if self._kept is not None:
            contents.text[self.path] = b"".join(self._kept)
        held = sum(len(data) for data in contents.components.values())
        if self._component is not None and held + self.size <= _COMPONENTS * contents.limits.bundle_bytes:
            contents.components[self.path] = b"".join(self._component)


def caseless(path: str) -> str:
    """The key under which two paths are one file somewhere: Unicode caseless matching, compatibility form (D146)."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", path).casefold())
    return unicodedata.normalize("NFKC", decomposed.casefold())
