"""The one table of everything that the gate can find. ``docs/gate.md`` shows it; a test compares the two.

A rule's ``why`` and ``mend`` are the words that an author reads below what was found; ``findings.Findings`` takes them
from here, so that one rule always speaks with one voice.
"""

from dataclasses import dataclass

from plugyard.domain.report import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by its stable id: what it is about, why it matters and how an author mends it."""

    id: str
    severity: Severity
    title: str
    why: str
    mend: str


_AMBIGUOUS = (
    "Two programs could read two different packages out of these bytes, so what was checked need not be what runs."
)
_PACK_AGAIN = "Pack the folder again with a current zip or tar and upload the new file."

_ARCHIVE = (
    (
        "unknown-format",
        "the file is no ZIP and no TAR.GZ",
        "Nothing else can be read; the file's name plays no part in it.",
        "Pack the folder as ZIP or TAR.GZ: zip -r ../my-plugin.zip . or tar czf ../my-plugin.tar.gz .",
    ),
    (
        "too-large",
        "the package is larger than allowed",
        "Every upload is stored and read in full.",
        "Leave out what the plugin does not need at run time: tests, media, node_modules, build output.",
    ),
    (
        "unpacked-too-large",
        "the package unpacks to more than allowed",
        "A small file that unpacks to a huge one exhausts whoever unpacks it.",
        "Leave out large files; let the plugin fetch its data when it runs.",
    ),
    (
        "entry-too-large",
        "one file unpacks to more than allowed",
        "A single file must not exhaust whoever reads it.",
        "Split the file or leave it out.",
    ),
    (
        "too-many-entries",
        "the package holds more entries than allowed",
        "Each entry costs time and memory to check.",
        "Bundle the dependencies into fewer files; leave out tests and documentation of libraries.",
    ),
    (
        "ratio",
        "the content is compressed further than real content is",
        "Such a ratio is the mark of a decompression bomb.",
        "Leave out files of repeated bytes.",
    ),
    (
        "truncated",
        "the archive ends too early",
        "The end is missing, so nobody knows what belonged to it.",
        "The file was cut while it was copied or packed; pack and upload it again.",
    ),
    (
        "damaged",
        "the archive contradicts itself or its checksums",
        "Its content is not what its author packed.",
        _PACK_AGAIN,
    ),
    ("headers-disagree", "two descriptions of one entry differ", _AMBIGUOUS, _PACK_AGAIN),
    (
        "overlap",
        "entries share the same bytes",
        "Overlapping entries are how a small archive unpacks to a huge one.",
        _PACK_AGAIN,
    ),
    (
        "leading-data",
        "bytes stand before the first entry",
        "The file is also something else, for example a program; " + _AMBIGUOUS[0].lower() + _AMBIGUOUS[1:],
        "Upload the plain archive, no self-extracting one.",
    ),
    ("hidden-data", "bytes lie between the entries and belong to none", _AMBIGUOUS, _PACK_AGAIN),
    ("trailing-data", "bytes follow the archive's end", _AMBIGUOUS, _PACK_AGAIN),
    (
        "several-streams",
        "several gzip streams follow each other",
        _AMBIGUOUS,
        "Pack everything into one TAR and compress it once.",
    ),
    ("ambiguous-end", "the archive has more than one end", _AMBIGUOUS, "Pack again without an archive comment."),
    (
        "several-disks",
        "the archive is one part of several",
        "The other parts are not here.",
        "Pack into a single file.",
    ),
    ("encrypted", "an entry is encrypted", "What cannot be read cannot be checked.", "Pack again without a password."),
    (
        "compression",
        "an entry is compressed by a method other than stored and deflate",
        "Only the two methods that every tool knows are read.",
        "Pack again with plain zip, or as TAR.GZ.",
    ),
    (
        "link",
        "an entry is a symbolic or hard link",
        "A link can lead out of the package or to another file than the one that was checked.",
        "Pack the file itself in place of the link (zip does so by default; tar with -h).",
    ),
    (
        "special-file",
        "an entry is a device, a pipe or a socket",
        "A package holds files and folders only.",
        "Leave the entry out.",
    ),
    (
        "sparse",
        "an entry is a sparse file",
        "Its size on disk and in the archive differ, and tools read it differently.",
        "Pack again without --sparse.",
    ),
    (
        "entry-kind",
        "an entry is of a kind that is not read",
        "Tools disagree on what such an entry holds.",
        "Pack again with tar --format=ustar or --format=pax, or as ZIP.",
    ),
    (
        "path-traversal",
        "a path climbs out of the package",
        "Unpacked, it would overwrite files of others.",
        "Pack from inside the plugin's folder, so that no path holds '..'.",
    ),
    (
        "path-absolute",
        "a path begins at the root",
        "Unpacked, it would overwrite files of others.",
        "Pack with paths relative to the plugin's folder.",
    ),
    (
        "path-windows",
        "a path holds a backslash, a drive letter, a stream or a character that Windows forbids",
        "On Windows it would name another file than here.",
        "Use forward slashes and plain names.",
    ),
    (
        "path-reserved",
        "a path holds a name that Windows reserves for devices",
        "On Windows the name opens a device in place of a file.",
        "Rename the file or folder.",
    ),
    (
        "path-trailing",
        "a name ends in a dot or a blank, or begins with a blank",
        "Windows drops it, so that the path would name another file.",
        "Rename the file or folder.",
    ),
    (
        "path-control",
        "a path holds control or invisible characters",
        "It looks like another name than it is, in logs and in listings.",
        "Rename the file or folder.",
    ),
    (
        "path-encoding",
        "a path is not UTF-8",
        "Its name depends on who reads it.",
        "Rename the file with plain letters, or pack with a tool that writes UTF-8.",
    ),
    ("path-length", "a path is longer than allowed", "Many systems cannot store it.", "Shorten the path."),
    (
        "path-depth",
        "a path lies deeper than allowed",
        "No plugin needs it, and deep trees exhaust tools.",
        "Flatten the folders.",
    ),
    (
        "path-segments",
        "a path has an empty part or a '.' inside, or is empty",
        "Two spellings of one path hide one file behind another.",
        _PACK_AGAIN,
    ),
    ("duplicate", "a path occurs twice", _AMBIGUOUS, "Keep one of the two."),
    (
        "collision",
        "two paths differ only in case or in how Unicode spells them",
        "On many systems both are the same file, and one would replace the other.",
        "Rename one of the two.",
    ),
    ("file-and-folder", "a path is a file and a folder at once", _AMBIGUOUS, "Rename one of the two."),
)

_MANIFEST = (
    (
        "missing",
        "plugin.json is not at the root of the package",
        "Without it nobody knows what the package is.",
        "Put plugin.json at the root of the package, beside the entry file.",
    ),
    (
        "too-large",
        "plugin.json is larger than allowed",
        "It is read on every start and shown to people.",
        "Shorten descriptions and schemas.",
    ),
    (
        "encoding",
        "plugin.json is not plain UTF-8",
        "JSON is exchanged as UTF-8 without a byte order mark (RFC 8259, 8.1).",
        "Save the file as UTF-8 without a byte order mark.",
    ),
    (
        "syntax",
        "plugin.json is not JSON",
        "It cannot be read beyond this point.",
        "Mend the line that is named; JSON knows no comments and no trailing commas.",
    ),
    (
        "depth",
        "plugin.json is nested deeper than allowed",
        "Deep nesting exhausts those who read it.",
        "Flatten the schemas; share parts by $defs.",
    ),
    (
        "duplicate-key",
        "a key occurs twice in one object",
        "Readers disagree on which of the two holds (RFC 8259, 4).",
        "Keep one of the two.",
    ),
    (
        "number",
        "a number cannot be kept exactly",
        "Readers would see different values (RFC 8259, 6).",
        "Use finite numbers, and integers between -(2^53-1) and 2^53-1.",
    ),
    (
        "surrogate",
        "a string holds half of a surrogate pair",
        "It is no text and cannot be written as UTF-8.",
        "Write the character itself, or both halves of its escape.",
    ),
    (
        "nul",
        "a string holds the character U+0000",
        "PostgreSQL's text cannot hold it, and C programs end a string there.",
        "Leave the character out.",
    ),
    (
        "required",
        "a required field is missing",
        "The plugin cannot be named, stored or run without it.",
        "Add the field.",
    ),
    (
        "unknown-field",
        "a field is not known",
        "A misspelt field would silently not hold.",
        "Remove or rename it; the JSON Schema of the manifest lists all fields.",
    ),
    (
        "type",
        "a value has the wrong type",
        "Types are exact: no text for a number, no true for 1, no 1.0 for 1.",
        "Write the value in the type that is named.",
    ),
    (
        "value",
        "a value lies outside what is allowed",
        "The service could not honour it.",
        "Choose one of the values, or a value within the bounds, that are named.",
    ),
    (
        "format",
        "a text does not have the required shape",
        "Other parts of the product rely on that shape.",
        "Write it in the shape that is named.",
    ),
    (
        "version",
        "a version is not a semantic version",
        "Upgrades and dependencies are decided by comparing versions.",
        "Write MAJOR.MINOR.PATCH, as in 1.0.0 or 2.0.0-rc.1.",
    ),
    (
        "range",
        "a version range cannot be read",
        "The dependency could not be resolved.",
        "Write a range as npm does, as in ^1.2.0 or >=1.0.0 <3.0.0.",
    ),
    (
        "runtime-ambiguous",
        "two languages are named and no runtime",
        "The code runs in one of them.",
        'Add "runtime": "javascript" or "runtime": "python".',
    ),
    (
        "runtime-missing",
        "nothing says what the plugin runs on",
        "The code runs in exactly one runtime.",
        'Add "runtime": "javascript", "python" or "wasm", or name the language in dependencies.',
    ),
    (
        "entry-missing",
        "the entry file is not in the package",
        "It is the file that is loaded first.",
        'Add the file, or name another one in "entry".',
    ),
    (
        "entry-kind",
        "the entry file does not fit the runtime",
        "The runtime could not load it.",
        "JavaScript takes .ts .mts .cts .js .mjs .cjs, Python .py, WebAssembly .wasm.",
    ),
    ("icon-missing", "the icon is not in the package", "The marketplace shows it.", 'Add the file, or remove "icon".'),
    (
        "schema-invalid",
        "a schema is not valid JSON Schema 2020-12",
        "Input could not be checked against it.",
        "Mend the keyword that is named; patterns are linear-time regular expressions without lookaround.",
    ),
    (
        "schema-reference",
        "a schema refers to another document, or holds one",
        "Nothing is fetched to check input.",
        "Copy the schema below $defs and refer to it as #/$defs/name or with a pointer inside the same schema.",
    ),
    (
        "schema-cost",
        "checking against a schema could take endless time",
        "Every call is checked against it, and a few lines can multiply into hours.",
        "Refer to each definition once for a value; do not repeat one reference in allOf, anyOf or oneOf.",
    ),
    (
        "default",
        "a default does not satisfy its own schema",
        "The plugin would start with a configuration that is refused.",
        "Change the default or the schema.",
    ),
    (
        "identifier",
        "a function is not named by an identifier",
        "The name must be one that the code can export.",
        "Use letters, digits and _ without a leading digit, and no word that the language reserves.",
    ),
    (
        "endpoint-duplicate",
        "two endpoints have the same method and path",
        "Only one of them could answer.",
        "Remove one, or change its method or path.",
    ),
    (
        "schedule",
        "a schedule is not a cron expression",
        "It would never run, or run when nobody expects it.",
        "Write five fields: minute hour day-of-month month day-of-week, as in 0 6 * * 1-5.",
    ),
    (
        "time-zone",
        "a time zone is not known",
        "The schedule would run at another hour than meant.",
        "Use a name of the IANA database, as in Europe/Berlin or UTC.",
    ),
    (
        "permission-duplicate",
        "a service is asked for twice",
        "It would be unclear which of the two narrows the other.",
        "Ask for each service once, with all hosts, paths or topics in one object.",
    ),
    (
        "permission-field",
        "a field does not belong to the service",
        "It would look like a restriction and be none.",
        "hosts, methods and paths narrow network; topics narrow events.",
    ),
)

_OTHER = (
    Rule("package.wrapped", Severity.ERROR, "everything lies in one folder at the top",
         "plugin.json must be at the root of the package.",
         "Pack from inside the folder: cd into it, then zip -r ../plugin.zip . or tar czf ../plugin.tar.gz ."),
    Rule("package.empty", Severity.ERROR, "the package holds no file", "There is nothing to run.",
         "Pack the plugin's folder with plugin.json and the entry file."),
    Rule("package.debris", Severity.WARNING, "a file is left over from a desktop or a version control system",
         "It does nothing in the package but take room, and it may tell more than its author wants.",
         "Leave it out when packing, for example with zip -x or tar --exclude."),
    Rule("archive.comment", Severity.INFO, "the archive carries a comment", "It is not read and not kept.",
         "Nothing to do."),
    Rule("archive.path-unmarked", Severity.WARNING, "a path is UTF-8 but not marked so",
         "Other tools may show another name.", "Use plain letters, or pack with a tool that marks names as UTF-8."),
    Rule("bundle.not-text", Severity.ERROR, "a file with a text extension is not UTF-8 text",
         "The plugin receives these files as text; another encoding would reach it garbled.",
         "Save the file as UTF-8, or give it an extension that does not promise text."),
    Rule("bundle.too-large", Severity.ERROR, "the text files together are larger than allowed",
         "They are held in memory by every environment that runs the plugin.",
         "Bundle and minify libraries; leave out what is not imported; move data out of the package."),
    Rule("component.not-one", Severity.ERROR, "the entry is not a WebAssembly component",
         "Only a component says in types what it takes, gives and needs.",
         "Build for a component target, or make one of the core module with wasm-tools component new."),
    Rule("component.malformed", Severity.ERROR, "the component's sections cannot be read",
         "It could not be compiled.", "Build it again with a current toolchain."),
    Rule("component.import", Severity.ERROR, "the component imports what is not offered",
         "It could not be instantiated; nothing but the platform's own door and the empty parts of WASI 0.2 is there.",
         "Import plugyard:plugin/host@1.0.0 and, where the language's library needs it, wasi:cli, wasi:clocks, "
         "wasi:filesystem, wasi:io and wasi:random 0.2; call services through the host."),
    Rule("component.export-missing", Severity.ERROR, "the component does not export what the platform calls",
         "There would be no function to run.",
         "Implement the world component-plugin of sdk/plugin.wit: functions and invoke."),
    Rule("gate.too-many-findings", Severity.INFO, "more was found than is listed",
         "The list is cut so that it stays readable.", "Mend what is listed and check again."),
    Rule("gate.timeout", Severity.ERROR, "the check took too long",
         "What could not be checked is not let in.", "Make the package smaller; if it is small, tell the operator."),
    Rule("gate.could-not-run", Severity.ERROR, "the check could not be completed",
         "What could not be checked is not let in.", "Upload it again; if it happens again, tell the operator."),
)  # fmt: skip

RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        *(Rule(f"archive.{name}", Severity.ERROR, title, why, mend) for name, title, why, mend in _ARCHIVE),
        *(Rule(f"manifest.{name}", Severity.ERROR, title, why, mend) for name, title, why, mend in _MANIFEST),
        *_OTHER,
    )
}
