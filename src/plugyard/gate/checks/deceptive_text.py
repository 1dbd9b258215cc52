"""Text that looks like other text: bidirectional controls, characters without a shape, letters of another alphabet.

Sources: Unicode Technical Standard 39 (security mechanisms) and Unicode Technical Report 36.
"""

import re
import unicodedata
from collections.abc import Iterator

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package
from plugyard.gate.source.facts import Source

_RULES = (
    Rule(
        "code.bidi",
        Severity.ERROR,
        Consequence.BLOCK,
        "code holds characters that reorder it on the screen",
        "What a reviewer sees is not what runs (CVE-2021-42574).",
        "Remove the characters; write them as escapes where a text needs them.",
    ),
    Rule(
        "code.bidi-text",
        Severity.INFO,
        Consequence.SHOW,
        "code holds balanced isolates of text direction",
        "They are harmless in texts for people and confusing elsewhere.",
        "Write them as escapes, or keep the texts in a JSON file.",
    ),
    Rule(
        "code.invisible",
        Severity.ERROR,
        Consequence.BLOCK,
        "a name in the code holds characters that nobody sees",
        "Two names that look alike are two names, or a name is there where a reader sees none.",
        "Rename it with visible characters.",
    ),
    Rule(
        "code.hidden-text",
        Severity.ERROR,
        Consequence.QUARANTINE,
        "a long run of characters without width",
        "Text can be hidden in them, and code is made of it when the plugin runs.",
        "Remove them.",
    ),
    Rule(
        "code.homoglyph",
        Severity.ERROR,
        Consequence.BLOCK,
        "a name looks like another one and is not",
        "A reader takes one function for another.",
        "Write the name in one alphabet, or rename it.",
    ),
    Rule(
        "code.mixed-script",
        Severity.WARNING,
        Consequence.SHOW,
        "a name mixes letters of several alphabets that look alike",
        "A reader cannot tell which letters it has.",
        "Write the name in one alphabet.",
    ),
)
_CODE = ("py", "js", "mjs", "cjs", "ts", "mts", "cts")
_OVERRIDES = "\u202d\u202e"
_OPENERS = {"\u202a": "\u202c", "\u202b": "\u202c", "\u2066": "\u2069", "\u2067": "\u2069", "\u2068": "\u2069"}
_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_WITHOUT_WIDTH = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0"
)
_TAGS = "\U000e0000-\U000e007f\U000e0100-\U000e01ef"
_INVISIBLE = re.compile(f"[{_WITHOUT_WIDTH}{_TAGS}]")
_RUN = re.compile(f"[{_WITHOUT_WIDTH}{_TAGS}]{{8,}}")
# Letters of Cyrillic and Greek, and a few more, that are drawn like letters of ASCII.
_LIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u051d\u04bb\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408"
    "\u03bf\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u0131\u0261\u0578\u057d\u0585\u0581",
    "aeopcyxijsdqwhABEKMHOPCTYXSIJovABEZHIKMNOPTYXignuog",
)


def _run(package: Package, findings: Findings) -> None:
    plain: set[str] | None = None
    for path, text in package.texts.items():
        if text.isascii():
            continue
        if path.rpartition(".")[2].lower() in _CODE:
            _direction(path, text, findings)
        for match in _RUN.finditer(text):
            what = f"{len(match[0])} characters without width in a row"
            findings.add("code.hidden-text", path, what, line=_line(text, match.start()))
            break
        source = package.sources.get(path)
        if source is not None:
            plain = _plain_names(package) if plain is None else plain
            _names(source, plain, findings)


def _direction(path: str, text: str, findings: Findings) -> None:
    for number, line in _lines_with(_CONTROLS, text):
        waiting: list[str] = []
        crossed = False
        for character in line:
            if character in _OPENERS:
                waiting.append(_OPENERS[character])
            elif character in "\u202c\u2069":
                crossed = crossed or not waiting or waiting.pop() != character
            elif character in _OVERRIDES:
                crossed = True
        if crossed or waiting:
            found = ", ".join(sorted({f"U+{ord(one):04X}" for one in _CONTROLS.findall(line)}))
            findings.add("code.bidi", path, f"the line holds {found}, which reorder what follows", line=number)
        else:
            findings.add("code.bidi-text", path, "the line holds isolates that are closed in it", line=number)


def _lines_with(pattern: "re.Pattern[str]", text: str) -> Iterator[tuple[int, str]]:
    last = 0
    for match in pattern.finditer(text):
        number = _line(text, match.start())
        if number != last:
            last = number
            start = text.rfind("\n", 0, match.start()) + 1
            end = text.find("\n", match.start())
            yield number, text[start : end if end >= 0 else len(text)]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _plain_names(package: Package) -> set[str]:
    """Every name of ASCII in the package, as far as words of its code are names."""
    names: set[str] = set()
    for path in package.sources:
        names.update(re.findall(r"[A-Za-z_$][A-Za-z0-9_$]*", package.texts[path]))
    return names


def _names(source: Source, plain: set[str], findings: Findings) -> None:
    for name, line in source.identifiers:
        if name.isascii():
            continue
        if _INVISIBLE.search(name):
            seen = _INVISIBLE.sub("", name)
            findings.add("code.invisible", source.path, f"a name that is seen as {seen!r} holds more", line=line)
            continue
        like = unicodedata.normalize("NFKC", name).translate(_LIKE)
        if like.isascii() and like in plain:
            findings.add("code.homoglyph", source.path, f"{name} is drawn like {like} and is another name", line=line)
        elif _mixes(name):
            findings.add("code.mixed-script", source.path, f"{name} mixes alphabets", line=line)


def _mixes(name: str) -> bool:
    """Whether a word of the name holds letters of ASCII and letters that are drawn like some."""
    for word in re.split(r"_|(?<=[a-z\u03b1-\u03c9\u0430-\u044f])(?=[A-Z])", name):
        alike = any(ord(character) in _LIKE for character in word)
        if alike and any(character.isascii() and character.isalpha() for character in word):
            return True
    return False


CHECK = Check("deceptive-text", "Text that looks like other text.", _RULES, _run)
