"""plugin.json is there, and so are the files that it names."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "manifest.missing",
        Severity.ERROR,
        Consequence.BLOCK,
        "plugin.json is not at the root of the package",
        "Without it nobody knows what the package is.",
        "Put plugin.json at the root of the package, beside the entry file.",
        fixed=True,
    ),
    Rule(
        "manifest.entry-missing",
        Severity.ERROR,
        Consequence.BLOCK,
        "the entry file is not in the package",
        "It is the file that is loaded first.",
        'Add the file, or name another one in "entry".',
        fixed=True,
    ),
    Rule(
        "manifest.entry-kind",
        Severity.ERROR,
        Consequence.BLOCK,
        "the entry file does not fit the runtime",
        "The runtime could not load it.",
        "JavaScript takes .ts .mts .cts .js .mjs .cjs, Python .py, WebAssembly .wasm.",
        fixed=True,
    ),
    Rule(
        "manifest.icon-missing",
        Severity.ERROR,
        Consequence.BLOCK,
        "the icon is not in the package",
        "The marketplace shows it.",
        'Add the file, or remove "icon".',
        fixed=True,
    ),
)

CHECK = Check(
    "manifest-files",
    "plugin.json is there, and so are the files that it names.",
    _RULES,
    found_in="plugyard.gate.manifest",
)
