"""The text that the environment is given."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "bundle.not-text",
        Severity.ERROR,
        Consequence.BLOCK,
        "a file with a text extension is not UTF-8 text",
        "The plugin receives these files as text; another encoding would reach it garbled.",
        "Save the file as UTF-8, or give it an extension that does not promise text.",
    ),
    Rule(
        "bundle.too-large",
        Severity.ERROR,
        Consequence.BLOCK,
        "the text files together are larger than allowed",
        "They are held in memory by every environment that runs the plugin.",
        "Bundle and minify libraries; leave out what is not imported; move data out of the package.",
    ),
)

CHECK = Check("bundle-text", "The text that the environment is given.", _RULES, found_in="plugyard.gate.inspect")
