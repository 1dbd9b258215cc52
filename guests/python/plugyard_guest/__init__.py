"""The Python guest: CPython on WebAssembly that takes in one plugin and runs its functions.

componentize-py runs this module once, while the guest is built, and keeps the memory that it leaves: what is imported
here costs nothing later. `load` and `invoke` are what the environment calls (`sdk/plugin.wit`).
"""

import asyncio
import gc
import importlib
import inspect
import json
import os
import random
import sys
import time
import types

import wit_world
from componentize_py_types import Err

from plugyard_guest import allowlist, bundle, failures, hostloop, streams
from plugyard_guest.context import Context

# The guest has no files at run time: what a plugin may import of the standard library must be in the snapshot. Those
# left out would open a window, run an installer or print when imported.
_LEFT_OUT = {"antigravity", "this", "idlelib", "turtledemo", "turtle", "tkinter", "ensurepip", "venv", "lib2to3"}
_SUBMODULES = (
    "collections.abc", "concurrent.futures", "email.message", "email.mime.multipart", "email.mime.text", "email.parser",
    "email.policy", "email.utils", "encodings.idna", "html.entities", "html.parser", "http.client", "http.cookies",
    "importlib.metadata", "importlib.resources", "json.decoder", "json.encoder", "logging.config", "logging.handlers",
    "os.path", "unittest.mock", "urllib.error", "urllib.parse", "urllib.request", "urllib.robotparser",
    "wsgiref.util", "xml.dom.minidom", "xml.etree.ElementTree", "xml.sax.handler", "xml.sax.saxutils", "zoneinfo",
)  # fmt: skip
for _name in sorted(sys.stdlib_module_names - _LEFT_OUT) + list(_SUBMODULES):
    if not _name.startswith("_") or _name == "__future__":
        try:
            importlib.import_module(_name)
        except Exception:  # noqa: S112 - bz2, ctypes, fcntl, lzma, mmap, ssl and their like have no place in WebAssembly
            continue

hostloop.install()
streams.install()
# The snapshot holds the variables of the machine that built it.
os.environ.clear()
time.sleep = hostloop.sleep

_functions: dict[str, object] = {}
_arity: dict[object, int] = {}


class WitWorld(wit_world.WitWorld):
    """What `sdk/plugin.wit` says that a guest exports."""

    def prepare(self, source: str) -> str:
        """Compile the package's modules."""
        package = json.loads(source)
        package["compiled"] = bundle.prepare(package["files"])
        return json.dumps(package, ensure_ascii=False)

    def load(self, source: str) -> str:
        """Take in a plugin and give the names of its functions."""
        # Every environment starts from the same snapshot, and so from the same seed, until it takes another.
        random.seed()
        package = json.loads(source)
        bundle.install(package["files"], package.get("compiled", {}))
        allowlist.install(package["files"], package.get("modules", {}))
        try:
            module = bundle.entry_module(package["entry"])
            _functions.clear()
            _functions.update(_public_functions(module))
            return json.dumps(sorted(_functions))
        except BaseException as error:
            raise Err(failures.describe(error, "load_failed")) from None
        finally:
            streams.flush()

    def invoke(self, function: str, arguments: str, context: str) -> str:
        """Run one function of the plugin."""
        try:
            return _run(function, arguments, context)
        except BaseException as error:
            raise Err(failures.describe(error, "plugin_error")) from None
        finally:
            streams.flush()


def _run(function: str, arguments: str, context: str) -> str:
    target = _functions.get(function)
    if target is None:
        raise failures.Failure("function_not_found", f"the plugin has no function {function!r}")
    values = (json.loads(arguments), Context(json.loads(context)))
    result = target(*values[: _arity[target]])
    if inspect.isawaitable(result):
        result = hostloop.run(result)
    try:
        output = json.dumps(result, ensure_ascii=False, allow_nan=False)
        if not output.isascii():
            output.encode()
    except (TypeError, ValueError) as error:
        raise failures.Failure(
            "output_not_json", f"what {function} returned cannot be written as JSON: {error}"
        ) from None
    return output


def _public_functions(module: types.ModuleType) -> dict[str, object]:
    """The functions that a caller may name: public, and written in the package itself."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    found = {}
    for name in names:
        value = getattr(module, name, None)
        if not callable(value) or inspect.isclass(value):
            continue
        if getattr(value, "__module__", None) not in bundle.modules:
            continue
        found[name] = value
        _arity[value] = _positional(value)
    return found


def _positional(function: object) -> int:
    """How many of (input, context) the function takes."""
    if type(function) is types.FunctionType and not hasattr(function, "__wrapped__"):
        # `inspect` finds the same, by a way that takes longer than all else that loading a small plugin does.
        code = function.__code__
        return 2 if code.co_flags & inspect.CO_VARARGS else min(2, code.co_argcount)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 2
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(2, sum(parameter.kind in plain for parameter in parameters))


# A first use of what every call uses, so that its caches are in the snapshot.
json.loads(json.dumps({"warm": [1.5, None, True, "ü"]}))
asyncio.iscoroutinefunction(_run)
# What lives now lives as long as the guest. A collection that walked through it would write to every page of the
# snapshot, and each page that is written to has to be copied for that environment.
gc.collect()
gc.freeze()
