"""The author's own JSON Schemas can be checked against, in bounded time."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "manifest.schema-invalid",
        Severity.ERROR,
        Consequence.BLOCK,
        "a schema is not valid JSON Schema 2020-12",
        "Input could not be checked against it.",
        "Mend the keyword that is named; patterns are linear-time regular expressions without lookaround.",
        fixed=True,
    ),
    Rule(
        "manifest.schema-reference",
        Severity.ERROR,
        Consequence.BLOCK,
        "a schema refers to another document, or holds one",
        "Nothing is fetched to check input.",
        "Copy the schema below $defs and refer to it as #/$defs/name or with a pointer inside the same schema.",
        fixed=True,
    ),
    Rule(
        "manifest.schema-cost",
        Severity.ERROR,
        Consequence.BLOCK,
        "checking against a schema could take endless time",
        "Every call is checked against it, and a few lines can multiply into hours.",
        "Refer to each definition once for a value; do not repeat one reference in allOf, anyOf or oneOf.",
        fixed=True,
    ),
    Rule(
        "manifest.default",
        Severity.ERROR,
        Consequence.BLOCK,
        "a default does not satisfy its own schema",
        "The plugin would start with a configuration that is refused.",
        "Change the default or the schema.",
        fixed=True,
    ),
    Rule(
        "manifest.example",
        Severity.ERROR,
        Consequence.BLOCK,
        "an example does not satisfy its function's input schema, or is too large",
        "The function is run with its examples, and whoever reads them takes them for input that is accepted.",
        "Change the example or the schema.",
        fixed=True,
    ),
)

CHECK = Check(
    "author-schemas",
    "The author's own JSON Schemas can be checked against, in bounded time.",
    _RULES,
    found_in="plugyard.gate.authorschemas",
)
