"""The archive can be read in one way only."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_AMBIGUOUS = (
    "Two programs could read two different packages out of these bytes, so what was checked need not be what runs."
)
_PACK_AGAIN = "Pack the folder again with a current zip or tar and upload the new file."

_RULES = (
    Rule(
        "archive.unknown-format",
        Severity.ERROR,
        Consequence.BLOCK,
        "the file is no ZIP and no TAR.GZ",
        "Nothing else can be read; the file's name plays no part in it.",
        "Pack the folder as ZIP or TAR.GZ: zip -r ../my-plugin.zip . or tar czf ../my-plugin.tar.gz .",
    ),
    Rule(
        "archive.too-large",
        Severity.ERROR,
        Consequence.BLOCK,
        "the package is larger than allowed",
        "Every upload is stored and read in full.",
        "Leave out what the plugin does not need at run time: tests, media, node_modules, build output.",
    ),
    Rule(
        "archive.unpacked-too-large",
        Severity.ERROR,
        Consequence.BLOCK,
        "the package unpacks to more than allowed",
        "A small file that unpacks to a huge one exhausts whoever unpacks it.",
        "Leave out large files; let the plugin fetch its data when it runs.",
    ),
    Rule(
        "archive.entry-too-large",
        Severity.ERROR,
        Consequence.BLOCK,
        "one file unpacks to more than allowed",
        "A single file must not exhaust whoever reads it.",
        "Split the file or leave it out.",
    ),
    Rule(
        "archive.too-many-entries",
        Severity.ERROR,
        Consequence.BLOCK,
        "the package holds more entries than allowed",
        "Each entry costs time and memory to check.",
        "Bundle the dependencies into fewer files; leave out tests and documentation of libraries.",
    ),
    Rule(
        "archive.ratio",
        Severity.ERROR,
        Consequence.BLOCK,
        "the content is compressed further than real content is",
        "Such a ratio is the mark of a decompression bomb.",
        "Leave out files of repeated bytes.",
    ),
    Rule(
        "archive.truncated",
        Severity.ERROR,
        Consequence.BLOCK,
        "the archive ends too early",
        "The end is missing, so nobody knows what belonged to it.",
        "The file was cut while it was copied or packed; pack and upload it again.",
    ),
    Rule(
        "archive.damaged",
        Severity.ERROR,
        Consequence.BLOCK,
        "the archive contradicts itself or its checksums",
        "Its content is not what its author packed.",
        _PACK_AGAIN,
    ),
    Rule(
        "archive.headers-disagree",
        Severity.ERROR,
        Consequence.BLOCK,
        "two descriptions of one entry differ",
        _AMBIGUOUS,
        _PACK_AGAIN,
    ),
    Rule(
        "archive.overlap",
        Severity.ERROR,
        Consequence.BLOCK,
        "entries share the same bytes",
        "Overlapping entries are how a small archive unpacks to a huge one.",
        _PACK_AGAIN,
    ),
    Rule(
        "archive.leading-data",
        Severity.ERROR,
        Consequence.BLOCK,
        "bytes stand before the first entry",
        (
            "The file is also something else, for example a program; two programs could read two different "
            "packages out of these bytes, so what was checked need not be what runs."
        ),
        "Upload the plain archive, no self-extracting one.",
    ),
    Rule(
        "archive.hidden-data",
        Severity.ERROR,
        Consequence.BLOCK,
        "bytes lie between the entries and belong to none",
        _AMBIGUOUS,
        _PACK_AGAIN,
    ),
    Rule(
        "archive.trailing-data",
        Severity.ERROR,
        Consequence.BLOCK,
        "bytes follow the archive's end",
        _AMBIGUOUS,
        _PACK_AGAIN,
    ),
    Rule(
        "archive.several-streams",
        Severity.ERROR,
        Consequence.BLOCK,
        "several gzip streams follow each other",
        _AMBIGUOUS,
        "Pack everything into one TAR and compress it once.",
    ),
    Rule(
        "archive.ambiguous-end",
        Severity.ERROR,
        Consequence.BLOCK,
        "the archive has more than one end",
        _AMBIGUOUS,
        "Pack again without an archive comment.",
    ),
    Rule(
        "archive.several-disks",
        Severity.ERROR,
        Consequence.BLOCK,
        "the archive is one part of several",
        "The other parts are not here.",
        "Pack into a single file.",
    ),
    Rule(
        "archive.encrypted",
        Severity.ERROR,
        Consequence.BLOCK,
        "an entry is encrypted",
        "What cannot be read cannot be checked.",
        "Pack again without a password.",
    ),
    Rule(
        "archive.compression",
        Severity.ERROR,
        Consequence.BLOCK,
        "an entry is compressed by a method other than stored and deflate",
        "Only the two methods that every tool knows are read.",
        "Pack again with plain zip, or as TAR.GZ.",
    ),
    Rule(
        "archive.link",
        Severity.ERROR,
        Consequence.BLOCK,
        "an entry is a symbolic or hard link",
        "A link can lead out of the package or to another file than the one that was checked.",
        "Pack the file itself in place of the link (zip does so by default; tar with -h).",
    ),
    Rule(
        "archive.special-file",
        Severity.ERROR,
        Consequence.BLOCK,
        "an entry is a device, a pipe or a socket",
        "A package holds files and folders only.",
        "Leave the entry out.",
    ),
    Rule(
        "archive.sparse",
        Severity.ERROR,
        Consequence.BLOCK,
        "an entry is a sparse file",
        "Its size on disk and in the archive differ, and tools read it differently.",
        "Pack again without --sparse.",
    ),
    Rule(
        "archive.entry-kind",
        Severity.ERROR,
        Consequence.BLOCK,
        "an entry is of a kind that is not read",
        "Tools disagree on what such an entry holds.",
        "Pack again with tar --format=ustar or --format=pax, or as ZIP.",
    ),
    Rule(
        "archive.comment",
        Severity.INFO,
        Consequence.SHOW,
        "the archive carries a comment",
        "It is not read and not kept.",
        "Nothing to do.",
    ),
)

CHECK = Check(
    "archive-form", "The archive can be read in one way only.", _RULES, found_in="plugyard.gate.archive.open_archive"
)
