"""The text of plugin.json is strict JSON."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "manifest.too-large",
        Severity.ERROR,
        Consequence.BLOCK,
        "plugin.json is larger than allowed",
        "It is read on every start and shown to people.",
        "Shorten descriptions and schemas.",
        fixed=True,
    ),
    Rule(
        "manifest.encoding",
        Severity.ERROR,
        Consequence.BLOCK,
        "plugin.json is not plain UTF-8",
        "JSON is exchanged as UTF-8 without a byte order mark (RFC 8259, 8.1).",
        "Save the file as UTF-8 without a byte order mark.",
        fixed=True,
    ),
    Rule(
        "manifest.syntax",
        Severity.ERROR,
        Consequence.BLOCK,
        "plugin.json is not JSON",
        "It cannot be read beyond this point.",
        "Mend the line that is named; JSON knows no comments and no trailing commas.",
        fixed=True,
    ),
    Rule(
        "manifest.depth",
        Severity.ERROR,
        Consequence.BLOCK,
        "plugin.json is nested deeper than allowed",
        "Deep nesting exhausts those who read it.",
        "Flatten the schemas; share parts by $defs.",
        fixed=True,
    ),
    Rule(
        "manifest.duplicate-key",
        Severity.ERROR,
        Consequence.BLOCK,
        "a key occurs twice in one object",
        "Readers disagree on which of the two holds (RFC 8259, 4).",
        "Keep one of the two.",
        fixed=True,
    ),
    Rule(
        "manifest.number",
        Severity.ERROR,
        Consequence.BLOCK,
        "a number cannot be kept exactly",
        "Readers would see different values (RFC 8259, 6).",
        "Use finite numbers, and integers between -(2^53-1) and 2^53-1.",
        fixed=True,
    ),
    Rule(
        "manifest.surrogate",
        Severity.ERROR,
        Consequence.BLOCK,
        "a string holds half of a surrogate pair",
        "It is no text and cannot be written as UTF-8.",
        "Write the character itself, or both halves of its escape.",
        fixed=True,
    ),
    Rule(
        "manifest.nul",
        Severity.ERROR,
        Consequence.BLOCK,
        "a string holds the character U+0000",
        "PostgreSQL's text cannot hold it, and C programs end a string there.",
        "Leave the character out.",
        fixed=True,
    ),
)

CHECK = Check("manifest-text", "The text of plugin.json is strict JSON.", _RULES, found_in="plugyard.gate.strictjson")
