"""Code that makes code from text and runs it."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package
from plugyard.gate.source.facts import Argument, Call

_RULES = (
    Rule(
        "code.eval",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "text is run as code",
        "Whoever decides the text decides what the plugin does, with all the rights that it was granted.",
        (
            "Parse the text and calculate with what it means: ast.literal_eval, JSON.parse, or a parser of "
            "the few words that you need."
        ),
    ),
    Rule(
        "code.packed-execution",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "code is unpacked from text and run",
        "Nobody who reviews the plugin can see what it runs.",
        "Ship the code as it was written.",
    ),
    Rule(
        "code.library-eval",
        Severity.INFO,
        Consequence.SHOW,
        "a vendored library runs text as code",
        "Template engines and validators do so; what they are given decides whether it is safe.",
        "Look whether text of a caller can reach it.",
    ),
    Rule(
        "code.unpickle",
        Severity.WARNING,
        Consequence.QUARANTINE,
        "objects of any class are made from bytes",
        "Whoever decides the bytes decides which functions run.",
        "Use json, or a format that holds values alone.",
    ),
)
_PYTHON = frozenset({"eval", "exec", "compile"})
_JAVASCRIPT = frozenset(
    {"eval", "Function", "AsyncFunction", "execScript", "vm.runInThisContext", "vm.runInNewContext", "vm.runInContext"}
    | {"vm.Script", "vm.compileFunction", "Function()"}
)
_TIMERS = frozenset({"setTimeout", "setInterval", "setImmediate"})
_UNPICKLING = frozenset(
    {"pickle.loads", "pickle.load", "_pickle.loads", "pickle.Unpickler", "marshal.loads", "marshal.load", "shelve.open"}
    | {"dill.loads", "cloudpickle.loads", "jsonpickle.decode", "yaml.unsafe_load"}
)


def _runs_text(language: str, call: Call) -> bool:
    if language == "python":
        return call.name in _PYTHON or call.name.endswith((".__builtins__.eval", ".__builtins__.exec", "builtins.exec"))
    if call.name in _TIMERS:
        # A function is a constant here; only text that is put together reaches this.
        return call.argument in (Argument.DECODED, Argument.PIECES)
    return call.name in _JAVASCRIPT or call.name.endswith((".constructor.constructor", ".constructor.constructor()"))


def _run(package: Package, findings: Findings) -> None:
    for source in package.sources.values():
        for call in source.calls:
            if call.name in _UNPICKLING and call.argument is not Argument.CONSTANT and not source.vendored:
                findings.add("code.unpickle", source.path, f"calls {call.name}", line=call.line)
            if not _runs_text(source.language, call) or call.argument in (
                Argument.CONSTANT,
                Argument.VALUE,
                Argument.NONE,
            ):
                continue
            if call.argument in (Argument.DECODED, Argument.PIECES):
                findings.add("code.packed-execution", source.path, f"{call.name} runs what it unpacked", line=call.line)
            elif source.vendored:
                findings.add("code.library-eval", source.path, f"calls {call.name} with computed text", line=call.line)
            else:
                findings.add("code.eval", source.path, f"calls {call.name} with computed text", line=call.line)


CHECK = Check("code-execution", "Text that is run as code.", _RULES, _run)
