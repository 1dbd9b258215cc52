"""The package holds what a plugin needs, at its root."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "package.wrapped",
        Severity.ERROR,
        Consequence.BLOCK,
        "everything lies in one folder at the top",
        "plugin.json must be at the root of the package.",
        "Pack from inside the folder: cd into it, then zip -r ../plugin.zip . or tar czf ../plugin.tar.gz .",
    ),
    Rule(
        "package.empty",
        Severity.ERROR,
        Consequence.BLOCK,
        "the package holds no file",
        "There is nothing to run.",
        "Pack the plugin's folder with plugin.json and the entry file.",
    ),
)

CHECK = Check(
    "package-layout", "The package holds what a plugin needs, at its root.", _RULES, found_in="plugyard.gate.inspect"
)
