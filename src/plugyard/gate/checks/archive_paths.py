"""Paths that would name something else elsewhere."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_AMBIGUOUS = (
    "Two programs could read two different packages out of these bytes, so what was checked need not be what runs."
)
_PACK_AGAIN = "Pack the folder again with a current zip or tar and upload the new file."

_RULES = (
    Rule(
        "archive.path-traversal",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path climbs out of the package",
        "Unpacked, it would overwrite files of others.",
        "Pack from inside the plugin's folder, so that no path holds '..'.",
    ),
    Rule(
        "archive.path-absolute",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path begins at the root",
        "Unpacked, it would overwrite files of others.",
        "Pack with paths relative to the plugin's folder.",
    ),
    Rule(
        "archive.path-windows",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path holds a backslash, a drive letter, a stream or a character that Windows forbids",
        "On Windows it would name another file than here.",
        "Use forward slashes and plain names.",
    ),
    Rule(
        "archive.path-reserved",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path holds a name that Windows reserves for devices",
        "On Windows the name opens a device in place of a file.",
        "Rename the file or folder.",
    ),
    Rule(
        "archive.path-trailing",
        Severity.ERROR,
        Consequence.BLOCK,
        "a name ends in a dot or a blank, or begins with a blank",
        "Windows drops it, so that the path would name another file.",
        "Rename the file or folder.",
    ),
    Rule(
        "archive.path-control",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path holds control or invisible characters",
        "It looks like another name than it is, in logs and in listings.",
        "Rename the file or folder.",
    ),
    Rule(
        "archive.path-encoding",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path is not UTF-8",
        "Its name depends on who reads it.",
        "Rename the file with plain letters, or pack with a tool that writes UTF-8.",
    ),
    Rule(
        "archive.path-length",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path is longer than allowed",
        "Many systems cannot store it.",
        "Shorten the path.",
    ),
    Rule(
        "archive.path-depth",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path lies deeper than allowed",
        "No plugin needs it, and deep trees exhaust tools.",
        "Flatten the folders.",
    ),
    Rule(
        "archive.path-segments",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path has an empty part or a '.' inside, or is empty",
        "Two spellings of one path hide one file behind another.",
        _PACK_AGAIN,
    ),
    Rule(
        "archive.duplicate",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path occurs twice",
        _AMBIGUOUS,
        "Keep one of the two.",
    ),
    Rule(
        "archive.collision",
        Severity.ERROR,
        Consequence.BLOCK,
        "two paths differ only in case or in how Unicode spells them",
        "On many systems both are the same file, and one would replace the other.",
        "Rename one of the two.",
    ),
    Rule(
        "archive.file-and-folder",
        Severity.ERROR,
        Consequence.BLOCK,
        "a path is a file and a folder at once",
        _AMBIGUOUS,
        "Rename one of the two.",
    ),
    Rule(
        "archive.path-unmarked",
        Severity.WARNING,
        Consequence.SHOW,
        "a path is UTF-8 but not marked so",
        "Other tools may show another name.",
        "Use plain letters, or pack with a tool that marks names as UTF-8.",
    ),
)

CHECK = Check(
    "archive-paths", "Paths that would name something else elsewhere.", _RULES, found_in="plugyard.gate.archive.paths"
)
