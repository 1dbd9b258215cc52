"""plugin.json has the shape that its JSON Schema says."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "manifest.required",
        Severity.ERROR,
        Consequence.BLOCK,
        "a required field is missing",
        "The plugin cannot be named, stored or run without it.",
        "Add the field.",
        fixed=True,
    ),
    Rule(
        "manifest.unknown-field",
        Severity.ERROR,
        Consequence.BLOCK,
        "a field is not known",
        "A misspelt field would silently not hold.",
        "Remove or rename it; the JSON Schema of the manifest lists all fields.",
        fixed=True,
    ),
    Rule(
        "manifest.type",
        Severity.ERROR,
        Consequence.BLOCK,
        "a value has the wrong type",
        "Types are exact: no text for a number, no true for 1, no 1.0 for 1.",
        "Write the value in the type that is named.",
        fixed=True,
    ),
    Rule(
        "manifest.value",
        Severity.ERROR,
        Consequence.BLOCK,
        "a value lies outside what is allowed",
        "The service could not honour it.",
        "Choose one of the values, or a value within the bounds, that are named.",
        fixed=True,
    ),
    Rule(
        "manifest.format",
        Severity.ERROR,
        Consequence.BLOCK,
        "a text does not have the required shape",
        "Other parts of the product rely on that shape.",
        "Write it in the shape that is named.",
        fixed=True,
    ),
)

CHECK = Check(
    "manifest-shape",
    "plugin.json has the shape that its JSON Schema says.",
    _RULES,
    found_in="plugyard.gate.definition",
)
