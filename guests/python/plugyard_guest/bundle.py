"""Imports from the plugin's package, which is in memory: its root and its `lib/` are on the path."""

import base64
import importlib
import importlib.abc
import importlib.machinery
import linecache
import marshal
import sys
import types
from collections.abc import Sequence

from plugyard_guest import failures

ROOTS = ("", "lib/")

# What the guest itself runs on.
_NEVER_REPLACED = {
    "plugyard_guest",
    "wit_world",
    "componentize_py_runtime",
    "sys",
    "builtins",
    "importlib",
    "encodings",
}

modules: set[str] = set()
"""Names of the modules that came from the package."""

_files: dict[str, str] = {}
_compiled: dict[str, str] = {}


class BundleImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and runs the package's modules."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Part of the import protocol."""
        relative = name.replace(".", "/")
        for root in ROOTS:
            base = root + relative
            for candidate, is_package in ((f"{base}/__init__.py", True), (f"{base}.py", False)):
                if candidate in _files:
                    spec = importlib.machinery.ModuleSpec(name, self, origin=candidate, is_package=is_package)
                    spec.has_location = True
                    if is_package:
                        spec.submodule_search_locations = [base]
                    return spec
            if any(known.startswith(f"{base}/") and known.endswith(".py") for known in _files):
                # A folder without __init__.py is a namespace package.
                spec = importlib.machinery.ModuleSpec(name, self, is_package=True)
                spec.submodule_search_locations = [base]
                return spec
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Part of the import protocol: the ordinary module will do."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Part of the import protocol."""
        spec = module.__spec__
        modules.add(module.__name__)
        if spec.origin is None:
            return
        kept = _compiled.get(spec.origin)
        if kept is not None:
            code = marshal.loads(base64.b64decode(kept))  # noqa: S302 - made from this very package, and behind the walls
        else:
            code = compile(_files[spec.origin], spec.origin, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - this is what the guest is for

    def get_source(self, name: str) -> str | None:
        """What `inspect` and `pkgutil.get_data` ask for."""
        spec = self.find_spec(name, None)
        return _files.get(spec.origin) if spec and spec.origin else None

    def get_data(self, path: str) -> bytes:
        """Read another file of the package, as `pkgutil.get_data` does."""
        if path not in _files:
            raise FileNotFoundError(path)
        return _files[path].encode()


def prepare(files: dict[str, str]) -> dict[str, str]:
    """The code of every file that compiles, as text; what does not is left for whoever imports it to find."""
    compiled = {}
    for path, text in files.items():
        if path.endswith(".py"):
            try:
                code = compile(text, path, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError):
                continue
            compiled[path] = base64.b64encode(marshal.dumps(code)).decode()
    return compiled


def install(files: dict[str, str], compiled: dict[str, str]) -> None:
    """Make the package's files importable and their lines known to tracebacks."""
    _files.clear()
    _files.update(files)
    _compiled.clear()
    _compiled.update(compiled)
    failures.authors_files.clear()
    for path, text in files.items():
        if path.endswith(".py"):
            failures.authors_files.add(path)
            linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    _give_way(files)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, BundleImporter)]
    # Before the finder of files, of which there are none; what is built in still goes first.
    place = sys.meta_path.index(importlib.machinery.PathFinder)
    sys.meta_path.insert(place, BundleImporter())


def _give_way(files: dict[str, str]) -> None:
    """Forget modules of the standard library that the package has under the same name, as Python's path order would."""
    own = set()
    for path in files:
        for root in ROOTS:
            if path.startswith(root) and path.endswith(".py"):
                own.add(path[len(root) :].removesuffix(".py").split("/")[0])
    for root in own - _NEVER_REPLACED:
        # Nearly no package has one. Walking through all modules writes to the page of each name, and every page of the
        # snapshot that is written to has to be copied for this environment.
        if root in sys.modules:
            for name in list(sys.modules):
                if name == root or name.startswith(f"{root}."):
                    del sys.modules[name]


def entry_module(path: str) -> types.ModuleType:
    """Import the entry. Raises ImportError when the package lacks it."""
    if path not in _files:
        raise ImportError(f"the package has no file {path}")
    return importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
