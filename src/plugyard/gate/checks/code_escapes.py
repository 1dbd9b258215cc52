"""Attempts to get out: at natives, at processes, at what lies behind an object. None succeeds, and few are honest."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package
from plugyard.gate.source.facts import Argument, Source

_RULES = (
    Rule(
        "code.native",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "native code is reached for",
        "The sandbox has no native code to call; who tries looks for a way out.",
        "Leave it out; compute in the language itself, or ship a WebAssembly component.",
    ),
    Rule(
        "code.process",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "a process is started",
        "There are no processes in the sandbox; who tries looks for a way out, or wrote for another place.",
        "Leave it out; let another service do it and call it through http.",
    ),
    Rule(
        "code.library-reach",
        Severity.INFO,
        Consequence.SHOW,
        "a vendored library reaches for natives or processes",
        "In the sandbox that part of the library cannot work.",
        "Make sure that the plugin does not need that part.",
    ),
    Rule(
        "code.introspection",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "the interpreter's own objects are walked",
        (
            "Walking from an object to all classes, to the globals of a function or to the frames of callers"
            " is how sandboxes in a process are left."
        ),
        "Name what you need by importing it.",
    ),
    Rule(
        "code.constructor-escape",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "the host is reached for through constructors",
        "It is how sandboxes that share an engine with their host are left; here there is no host behind it.",
        "Leave it out.",
    ),
    Rule(
        "code.node-internals",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "internals of Node are reached for",
        "They are not there; who tries looks for a way out.",
        "Use the services of the context.",
    ),
    Rule(
        "code.prototype",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "what all objects inherit is changed",
        "It changes how the code of others in the same environment behaves, and it is how checks are bypassed.",
        "Keep the function as one of your own.",
    ),
    Rule(
        "code.hidden-import",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "a module is imported under a name that is put together",
        "A name that is hidden from the reader is hidden for a reason.",
        "Write the name of the module.",
    ),
    Rule(
        "code.dynamic-import",
        Severity.INFO,
        Consequence.SHOW,
        "a module is imported whose name is computed",
        (
            "What is not in the package and not offered cannot be imported, whatever its name; checks cannot"
            " see which it will be."
        ),
        "Import each module by its name.",
    ),
)
_NATIVE = ("ctypes", "_ctypes", "cffi", "_cffi_backend", "mmap", "ffi-napi", "ref-napi", "koffi")
_PROCESS_MODULES = ("subprocess", "multiprocessing", "pty", "child_process", "cluster", "_posixsubprocess")
_PROCESS_CALLS = ("os.system", "os.popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.kill", "os.dup2")
_PROCESS_FAMILIES = ("os.exec", "os.spawn", "subprocess.", "multiprocessing.", "child_process.", "pty.")
_WALKS = frozenset({"__subclasses__", "__globals__", "f_globals", "f_builtins", "__builtins__", "f_back", "gi_frame"})
_FRAMES = frozenset({"sys._getframe", "gc.get_objects", "gc.get_referrers", "inspect.currentframe", "inspect.stack"})
_SHARED = ("Object.prototype.", "Array.prototype.", "Function.prototype.", "String.prototype.", "Promise.prototype.")


def _root(module: str | None) -> str:
    return (module or "").partition(".")[0]


def _run(package: Package, findings: Findings) -> None:
    for source in package.sources.values():
        _imports(source, findings)
        _calls(source, findings)
        _mentions(source, findings)


def _imports(source: Source, findings: Findings) -> None:
    for one in source.imports:
        root = _root(one.module)
        if root in _NATIVE or root in _PROCESS_MODULES:
            rule = "code.library-reach" if source.vendored else "code.native" if root in _NATIVE else "code.process"
            findings.add(rule, source.path, f"imports {root}", line=one.line)
        elif root in ("vm", "v8", "inspector", "worker_threads", "repl") and source.language == "javascript":
            rule = "code.library-reach" if source.vendored else "code.node-internals"
            findings.add(rule, source.path, f"imports {root}", line=one.line)
        elif one.module is None and one.argument in (Argument.PIECES, Argument.DECODED):
            findings.add(
                "code.hidden-import", source.path, "imports a module by a name that is put together", line=one.line
            )
        elif one.module is None and one.argument is Argument.COMPUTED and not source.vendored:
            findings.add("code.dynamic-import", source.path, "imports a module by a computed name", line=one.line)


def _calls(source: Source, findings: Findings) -> None:
    for call in source.calls:
        name = call.name
        if name in _PROCESS_CALLS or name.startswith(_PROCESS_FAMILIES):
            rule = "code.library-reach" if source.vendored else "code.process"
            findings.add(rule, source.path, f"calls {name}", line=call.line)
        elif name in _FRAMES and not source.vendored:
            findings.add("code.introspection", source.path, f"calls {name}", line=call.line)
        elif source.language == "javascript" and _constructs(name, call.argument, own=not source.vendored):
            findings.add("code.constructor-escape", source.path, f"calls {name}", line=call.line)


def _constructs(name: str, argument: Argument, *, own: bool) -> bool:
    """Whether a constructor is called that was reached through an object, with text for a function's body."""
    if name.endswith((".constructor.constructor", ".constructor.constructor()")):
        return True
    reached = name.endswith((".constructor", ".constructor()")) and not name.startswith(("this.", "?."))
    return own and reached and argument in (Argument.CONSTANT, Argument.PIECES, Argument.DECODED)


def _mentions(source: Source, findings: Findings) -> None:
    for one in source.mentions:
        owner, _, last = one.name.rpartition(".")
        if source.language == "python":
            walks = last in _WALKS and not source.vendored
            rule, what = ("code.introspection" if walks else ""), f"reaches for {last}"
        elif last == "constructor" and owner.endswith(".constructor") and not source.vendored:
            rule, what = "code.constructor-escape", f"reaches for {one.name}"
        elif owner == "process" and last in ("binding", "mainModule", "dlopen", "_load"):
            rule = "code.library-reach" if source.vendored else "code.node-internals"
            what = f"reaches for {one.name}"
        else:
            continue
        if rule:
            findings.add(rule, source.path, what, line=one.line)
    if source.language == "javascript" and not source.vendored:
        _prototypes(source, findings)


def _prototypes(source: Source, findings: Findings) -> None:
    for one in source.mentions:
        if one.assigned and (one.name + ".").startswith(_SHARED):
            findings.add("code.prototype", source.path, f"changes {one.name}", line=one.line)


CHECK = Check("code-escapes", "Attempts to leave the sandbox.", _RULES, _run)
