"""Recognises the libraries that a package brings along: its bill of materials.

``inspect`` calls ``components`` and hands what it finds to the checks; the report carries it. What is read: metadata of
Python distributions, packages below ``lib/`` that say their version, ``package.json`` of folders, banners and versions
in JavaScript, and what a WebAssembly binary says of its producers. The rest of a file is nobody's business here.
"""

import json
import re
from collections.abc import Iterator, Mapping

from plugyard.domain.report import Component
from plugyard.gate.archive.contents import MANIFEST
from plugyard.gate.licences import licence_of_name, licence_of_text
from plugyard.gate.package import MOST_COMPONENTS, Package

Beside = Mapping[str, str]
_HEAD = 40_000
_TEXT = 200
_BANNER = re.compile(
    r"/\*!?[\s*]{0,20}(?:@license )?\s{0,4}(?P<name>@?[A-Za-z][\w.@/ -]{1,60}?)(?:\.js)?[ ,-]{1,4}(?:v|version )?"
    r"(?P<version>\d{1,5}\.\d{1,5}(?:\.\d{1,5})?(?:-[\w.]{1,20})?)\b"
)
_MOST_TRIES = 20_000  # comments that are looked at in one package
_FILE_NAME = re.compile(
    r"(?P<name>[a-z][\w.-]{1,60}?)(?:[-.]v?(?P<version>\d+\.\d+\.\d+))?(?:\.min|\.bundle)?\.[cm]?js\Z"
)
_INSIDE = re.compile(
    r"(?:VERSION|version)[\"']?\s{0,3}[:=]\s{0,3}[\"'](?P<version>\d{1,5}\.\d{1,5}\.\d{1,5}[\w.-]{0,20})[\"']"
)
_PYTHON_VERSION = re.compile(
    r"(?m)^__version__\s{0,3}(?::\s{0,3}str\s{0,3})?=\s{0,3}[\"'](?P<version>\d[\w.+!-]{0,40})[\"']"
)
_LICENCE_FILE = re.compile(r"(?i)(?:licen[cs]e|copying)(?:[.-][\w.-]{1,20})?\Z")


def components(package: Package) -> tuple[Component, ...]:
    """The libraries of a package, by path, each once. Linear in the size of its text."""
    found: dict[tuple[str, str | None], Component] = {}
    beside = _licence_files(package)
    for one in (*_python(package, beside), *_javascript(package, beside), *_webassembly(package)):
        found.setdefault((one.name.lower(), one.version), one)
    # A version that is not known adds nothing to one that is.
    versioned = {name for name, version in found if version is not None}
    kept = [one for (name, version), one in found.items() if version is not None or name not in versioned]
    return tuple(sorted(kept, key=lambda one: one.path)[:MOST_COMPONENTS])


def _component(
    package: Package, kind: str, name: str, version: str | None, licences: tuple[str, ...], path: str
) -> Component:
    name, version = _line(name), _line(version) if version else None
    purl = ""
    if re.fullmatch(r"(?:@[\w.-]+/)?[\w.-]+", name, re.ASCII):
        named = name.lower().replace("_", "-") if kind == "pypi" else name.lower().replace("@", "%40", 1)
        known = version is not None and re.fullmatch(r"[\w.+!-]+", version, re.ASCII)
        purl = f"pkg:{kind}/{named}" + (f"@{version}" if known else "")
    return Component(name, version, purl, licences[:5], path, package.digests.get(path, "0" * 64))


def _line(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:_TEXT] or "?"


# --- Python ----------------------------------------------------------------------------------------------------------


def _python(package: Package, beside: Beside) -> Iterator[Component]:
    named: set[str] = set()
    for path, data in package.others.items():
        if path.endswith((".dist-info/METADATA", ".egg-info/PKG-INFO")):
            fields = _fields(data[:_HEAD].decode("utf-8", "replace"))
            folder = path.split("/")[-2]
            name, version = (fields.get("name") or [folder.partition("-")[0]])[0], (fields.get("version") or [""])[0]
            named.add(name.lower().replace("-", "_"))
            yield _component(package, "pypi", name, version, _python_licences(package, beside, path, fields), path)
    for path, text in package.texts.items():
        parts = path.split("/")
        if parts[0] != "lib" or len(parts) not in (2, 3) or not path.endswith(".py"):
            continue
        whole = len(parts) == 3
        if whole and parts[2] not in ("__init__.py", "_version.py", "version.py", "__version__.py", "__about__.py"):
            continue
        name = parts[1].removesuffix(".py")
        if name.lower().replace("-", "_") in named:
            continue
        found = _PYTHON_VERSION.search(text[:_HEAD])
        licences = _beside(package, beside, f"lib/{name}") if whole else ()
        if found or licences:
            yield _component(package, "pypi", name, found["version"] if found else None, licences, path)


def _fields(text: str) -> dict[str, list[str]]:
    """The fields before the first empty line, as e-mail writes them, without continuations."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if not line.strip():
            break
        key, sign, value = line.partition(":")
        if sign and key.strip() == key:
            found.setdefault(key.lower(), []).append(value.strip())
    return found


def _python_licences(package: Package, beside: Beside, path: str, fields: dict[str, list[str]]) -> tuple[str, ...]:
    if expression := fields.get("license-expression"):
        return (_line(expression[0]),)
    classified = [
        one.rpartition("::")[2].strip() for one in fields.get("classifier", []) if one.startswith("License ::")
    ]
    known = tuple(filter(None, (licence_of_name(one) for one in classified)))
    if known:
        return known
    if (written := fields.get("license")) and written[0] and written[0].upper() != "UNKNOWN":
        return (licence_of_name(written[0]) or _line(written[0])[:80],)
    return _beside(package, beside, path.rpartition("/")[0])


def _licence_files(package: Package) -> dict[str, str]:
    """A licence file for each folder that has one, or whose folder of licences has."""
    found: dict[str, str] = {}
    for path in package.files:
        if _LICENCE_FILE.match(path.rsplit("/", 1)[-1]):
            folder = path.rpartition("/")[0]
            found.setdefault(folder, path)
            found.setdefault(folder.rpartition("/")[0], path)
    return found


def _beside(package: Package, beside: Beside, folder: str) -> tuple[str, ...]:
    """The licence in a file of its own in a folder."""
    path = beside.get(folder)
    if path is None:
        return ()
    text = package.texts.get(path) or package.others.get(path, b"")[:_HEAD].decode("utf-8", "replace")
    return (licence_of_text(text[:_HEAD]) or f"see {path[len(folder) + 1 :]}"[:80],)


# --- JavaScript ------------------------------------------------------------------------------------------------------


def _javascript(package: Package, beside: Beside) -> Iterator[Component]:
    tries = iter(range(_MOST_TRIES))
    for path, text in package.texts.items():
        name = path.rsplit("/", 1)[-1]
        if name == "package.json" and "/" in path:
            yield from _npm(package, beside, path, text)
        elif name.endswith((".js", ".mjs", ".cjs")):
            yield from _script(package, tries, path, text)


def _npm(package: Package, beside: Beside, path: str, text: str) -> Iterator[Component]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str) or path == MANIFEST:
        return
    version, licence = document.get("version"), document.get("license")
    if isinstance(licence, dict):
        licence = licence.get("type")
    named = isinstance(licence, str) and licence != "UNLICENSED"
    licences = (_line(str(licence))[:80],) if named else _beside(package, beside, path.rpartition("/")[0])
    yield _component(package, "npm", name, version if isinstance(version, str) else None, licences, path)


def _script(package: Package, tries: Iterator[int], path: str, text: str) -> Iterator[Component]:
    name, at, told = path.rsplit("/", 1)[-1], text.find("/*"), 0
    while at != -1 and next(tries, None) is not None:
        # Bundlers keep the banners of what they bundle, so that they can stand anywhere.
        if (text.startswith("!", at + 2) or "@license" in text[at : at + 40]) and (
            found := _BANNER.match(text, at, at + 200)
        ):
            told += 1
            licence = licence_of_text(text[at : at + 1_000])
            yield _component(
                package, "npm", found["name"].strip().replace(" ", "-"), found["version"],
                (licence,) if licence else (), path,
            )  # fmt: skip
        at = text.find("/*!", at + 2)
    minified = ".min." in name
    if told == 0 and (minified or "/" in path):
        named = _FILE_NAME.match(name.lower())
        if named is None or (not minified and named["version"] is None):
            return
        inside = None if named["version"] else _INSIDE.search(text)
        version = named["version"] or (inside["version"] if inside else None)
        licence = licence_of_text(text[:2_000])
        yield _component(package, "npm", named["name"], version, (licence,) if licence else (), path)


# --- WebAssembly -----------------------------------------------------------------------------------------------------


def _webassembly(package: Package) -> Iterator[Component]:
    binaries = {path: data for path, data in package.others.items() if data.startswith(b"\0asm")}
    if package.component is not None and package.entry is not None:
        binaries[package.entry] = package.component
    for path, data in binaries.items():
        at = data.find(b"\x09producers")
        for _ in range(20):
            if at == -1:
                break
            for name, version in _producers(data[at + 10 : at + 4_106]):
                yield _component(package, "generic", name, version or None, (), path)
            at = data.find(b"\x09producers", at + 10)


def _producers(data: bytes) -> Iterator[tuple[str, str]]:
    """What the section of the tool conventions says: fields, each with names and versions. Ends where it is broken."""
    at = 0

    def number() -> int:
        nonlocal at
        value = 0
        for shift in range(0, 28, 7):
            if at >= len(data):
                return 0
            at += 1
            value |= (data[at - 1] & 0x7F) << shift
            if data[at - 1] < 0x80:
                break
        return value

    def text() -> str:
        nonlocal at
        size = number()
        at += size
        return data[at - size : at].decode("utf-8", "replace")

    for _ in range(min(number(), 5)):
        text()
        for _ in range(min(number(), 50)):
            name, version = text(), text()
            if at > len(data) or not name:
                return
            yield name, version
