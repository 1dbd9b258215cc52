"""Which modules a plugin may import beside its own: those of the standard library that mean something here.

This is help for authors and a policy of operators, and no boundary: what the guest can do is decided by WebAssembly and
the process around it. `guests/modules.json`, which the build lays beside this file, is the list. Only imports that are
written in the package are looked at; what the standard library itself imports is its own business.
"""

import builtins
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterable

from plugyard_guest import bundle, failures

_document = json.loads(pkgutil.get_data(__name__, "modules.json"))
_reasons: dict[str, str] = _document["reasons"]
_refused: dict[str, str] = _document["python"]["refused"]
_allowed = frozenset(_document["python"]["allowed"])
_own: set[str] = set()
_denied: dict[str, str] = {}
_needed: list[str] | None = None

_real_import = builtins.__import__
_real_import_module = importlib.import_module


def install(files: Iterable[str], policy: dict) -> None:
    """Hold the imports of the package that consists of `files` against the list, and against what narrows it here.

    `policy` may have the names that are `denied` here and `deniedByTenant`, and those that the manifest calls `needed`.
    """
    global _needed
    _own.clear()
    for path in files:
        for root in bundle.ROOTS:
            if path.startswith(root):
                _own.add(path[len(root) :].removesuffix(".py").split("/")[0])
    _denied.clear()
    _denied.update(dict.fromkeys(policy.get("deniedByTenant") or (), "this tenant does not allow it"))
    _denied.update(dict.fromkeys(policy.get("denied") or (), "the operator of this service does not allow it"))
    _needed = policy.get("needed")
    builtins.__import__ = _import
    importlib.import_module = _import_module


def _import(name, globals=None, locals=None, fromlist=(), level=0):
    """What `import` calls; PEP 302 gives it the globals of the module that imports."""
    if level == 0 and globals is not None and globals.get("__name__") in bundle.modules:
        _check(name)
        for item in fromlist or ():
            if f"{name}.{item}" in _refused or f"{name}.{item}" in _denied:
                _check(f"{name}.{item}")
    return _real_import(name, globals, locals, fromlist, level)


def _import_module(name, package=None):
    if not name.startswith(".") and sys._getframe(1).f_globals.get("__name__") in bundle.modules:
        _check(name)
    return _real_import_module(name, package)


def _check(name: str) -> None:
    """Raise ModuleRefused for a module that is not offered; one of the package goes before all others."""
    parts = name.split(".")
    if parts[0] in _own:
        return
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in _denied:
            _refuse(prefix, f"{_denied[prefix]}; do without it, or ask the operator")
        if prefix in _refused:
            _refuse(prefix, _reasons[_refused[prefix]])
    if parts[0] in _allowed:
        if not _is_needed(name):
            _refuse(name, f"security.modules in plugin.json does not name it; add {name!r} there, or do without it")
        return
    if parts[0] in sys.stdlib_module_names:
        _refuse(parts[0], "it is not among the modules that mean something here")
    _refuse(parts[0], "it is not in the package and not of the standard library; pure Python goes under lib/")


def _is_needed(name: str) -> bool:
    """Whether the manifest names the module, what it lies in, or what lies in it; without a list it needs all."""
    if _needed is None or name == "__future__":
        return True
    return any(name == one or name.startswith(f"{one}.") or one.startswith(f"{name}.") for one in _needed)


def _refuse(name: str, why: str) -> None:
    raise failures.ModuleRefused(f"the module {name} is not offered to plugins: {why}", name=name)
