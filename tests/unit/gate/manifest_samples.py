"""For each rule on manifests: a text that breaks it, and where the finding points. What is harmless stands beside."""

import json
from dataclasses import dataclass
from typing import Any

from tests.unit.gate.packing import MANIFEST, manifest

DEEP = b"[" * 40 + b"]" * 40


@dataclass(frozen=True)
class ManifestSample:
    """``text`` breaks ``rule`` at ``pointer``; ``files`` are in the package beside index.js."""

    rule: str
    pointer: str
    text: bytes
    twin: bytes
    files: tuple[str, ...] = ()
    says: str = ""


def _with(path: str, value: Any) -> bytes:
    """The small manifest with one value set, at a path of names with dots between."""
    document = json.loads(json.dumps(MANIFEST))
    *parents, last = path.split(".")
    node = document
    for name in parents:
        node = node.setdefault(name, {})
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return json.dumps(document).encode()


def _case(rule: str, path: str, bad: Any, good: Any, pointer: str = "", *, says: str = "") -> ManifestSample:
    where = pointer or "/" + path.replace(".", "/")
    return ManifestSample(rule, "#" + where, _with(path, bad), _with(path, good), says=says)


def _raw(rule: str, pointer: str, bad: str, good: str, says: str = "") -> ManifestSample:
    """The small manifest with a configuration whose default is written by hand."""
    text = manifest(configuration={"type": "object", "examples": [["@"]]}).decode()
    return ManifestSample(
        rule, pointer, text.replace('"@"', bad).encode(), text.replace('"@"', good).encode(), (), says
    )


_HERE = "#/configuration/examples/0/0"
_EXPLODING = {
    "type": "object",
    "$ref": "#/$defs/d0",
    "$defs": {
        **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(40)},
        "d40": {"type": "object"},
    },
}
_TWICE_DOWN = {
    "type": "object",
    "allOf": [{"properties": {"c": {"$ref": "#"}}}, {"properties": {"c": {"allOf": [{"$ref": "#"}]}}}],
}
_TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
_ANYTHING = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/any"}},
    "$defs": {
        "any": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"$ref": "#/$defs/any"}},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/any"}},
            ]
        }
    },
}
_FINE = manifest()
_ENDPOINT = {"method": "GET", "path": "/a", "handler": "run"}
_NO_LANGUAGE = manifest(dependencies=None)

MANIFEST_SAMPLES: list[ManifestSample] = [
    ManifestSample("manifest.encoding", "plugin.json", b"\xef\xbb\xbf" + _FINE, _FINE, says="byte order mark"),
    ManifestSample("manifest.encoding", "plugin.json", _FINE.decode().encode("utf-16"), _FINE, says="UTF-16"),
    ManifestSample("manifest.encoding", "plugin.json", _FINE.replace(b"my-", b"\xe9"), _FINE, says="not UTF-8"),
    ManifestSample("manifest.too-large", "plugin.json", _FINE + b" " * 300_000, _FINE + b" " * 200_000),
    ManifestSample("manifest.syntax", "plugin.json", b"", _FINE, says="is empty"),
    ManifestSample("manifest.syntax", "plugin.json", b"{\n  'a': 1}", _FINE, says="line 2, column 3"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": 1,}', _FINE, says="comma before '}'"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": [1,]}', _FINE, says="comma before ']'"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a" 1}', _FINE, says="expects ':'"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": 1 "b": 2}', _FINE, says="expects ','"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": 1} // no', _FINE, says="comment"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": 01}', _FINE, says="malformed number"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": 1.}', _FINE, says="malformed number"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": +1}', _FINE, says="expects a value"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": tru}', _FINE, says="expects a value"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": "\t"}', _FINE, says="control character"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": "b', _FINE, says="closing quote"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": "\\x"}', _FINE, says="escape"),
    ManifestSample("manifest.syntax", "plugin.json", b'{"a": "\\u12"}', _FINE, says="four hexadecimal"),
    ManifestSample("manifest.syntax", "plugin.json", b"{", _FINE, says="end of the file"),
    ManifestSample("manifest.depth", "/0" * 32, DEEP, _FINE),
    ManifestSample("manifest.duplicate-key", "#/runtime",
                   b'{"runtime": "python",\n "runtime": "javascript",' + _FINE[1:],
                   b'{"runtime": "javascript",' + _FINE[1:], says="line 2"),
    _raw("manifest.number", _HERE, "NaN", "1.5", "NaN"),
    _raw("manifest.number", _HERE, "-Infinity", "-1", "Infinity"),
    _raw("manifest.number", _HERE, "1e999", "1e99"),
    _raw("manifest.number", _HERE, "9007199254740993", "9007199254740991"),
    _raw("manifest.number", _HERE, "9" * 5000, "9"),
    _raw("manifest.surrogate", _HERE, '"\\ud800"', '"\\ud83d\\ude00"'),
    _raw("manifest.surrogate", _HERE, '"\\ud800\\u0041"', '"\\u0041"'),
    _raw("manifest.nul", _HERE, '"a\\u0000b"', '"a\\u0001b"'),
    _case("manifest.required", "metadata.version", ..., "1.0.0", "/metadata", says="'version' is missing"),
    ManifestSample("manifest.unknown-field", "#/metadata/nmae", _with("metadata.nmae", "x"), _FINE,
                   says="did you mean 'name'"),
    ManifestSample("manifest.unknown-field", "#/version", _with("version", "1.0.0"),
           _FINE, says="belongs into metadata"),
    ManifestSample("manifest.unknown-field", "#/security/resourceLimits/disk", _with("security.resourceLimits.disk", 1),
                   _FINE, says="known are memory, timeout, cpu"),
    ManifestSample("manifest.unknown-field", "#/api/endpoints/0/auth",
                   manifest(api={"endpoints": [{**_ENDPOINT, "auth": 1}]}), manifest(api={"endpoints": [_ENDPOINT]})),
    ManifestSample("manifest.unknown-field", "#/security/permissions/0/host",
                   manifest(security={"permissions": [{"service": "network", "host": "a.example.com"}]}),
                   manifest(security={"permissions": [{"service": "network", "hosts": ["a.example.com"]}]}),
                   says="did you mean 'hosts'"),
    ManifestSample("manifest.type", "plugin.json#", b"[]", _FINE, says="must be an object"),
    _case("manifest.type", "security.resourceLimits.memory", True, 64, says="is true, must be an integer"),
    _case("manifest.type", "security.resourceLimits.memory", 64.0, 64, says="64.0"),
    _case("manifest.type", "security.resourceLimits.timeout", "5s", 5, says="the text '5s'"),
    _case("manifest.type", "metadata.keywords", "a", ["a"], says="must be a list"),
    _case("manifest.type", "metadata.description", None, "", says="is null, must be text"),
    _case("manifest.value", "runtime", "Javascript", "javascript", says="did you mean 'javascript'"),
    _case("manifest.value", "security.resourceLimits.memory", 16, 32, says="at least 32"),
    _case("manifest.value", "security.resourceLimits.memory", 2048, 1024, says="at most 1024"),
    _case("manifest.value", "security.resourceLimits.timeout", 0, 1),
    _case("manifest.value", "security.isolation", "none", "fresh", says="shared, fresh"),
    _case("manifest.value", "security.resourceLimits.inFlight", 17, 16, says="at most 16"),
    _case("manifest.value", "security.resourceLimits.stack", 64, 128, says="at least 128"),
    _case("manifest.value", "security.resourceLimits.logLines", 0, 1, says="at least 1"),
    _case("manifest.value", "security.modules", ["json", "json"], ["json"], says="twice"),
    _case("manifest.value", "security.permissions", ["netwrok"], ["network"],
           "/security/permissions/0", says="'network'"),
    _case("manifest.value", "metadata.description", "x" * 501, "x" * 500, says="at most 500 characters"),
    _case("manifest.value", "metadata.keywords", ["a", "a"], ["a", "b"], says="twice"),
    _case("manifest.value", "dependencies.plugins", {"my-plugin": "*"}, {"other": "*"},
           "/dependencies/plugins/my-plugin"),
    _case("manifest.format", "metadata.name", "My_Plugin", "my-plugin2", says="lower-case letters"),
    _case("manifest.format", "metadata.homepage", "http://a.example", "https://a.example/x"),
    _case("manifest.format", "functions", {"a b": {}}, {"ab": {}}, "/functions/a b"),
    _case("manifest.format", "dependencies.plugins", {"A": "*"}, {"abc": "*"}, "/dependencies/plugins/A"),
    _case("manifest.format", "entry", "/index.js", "index.js"),
    *(_case("manifest.format", "security.permissions", [{"service": "network", "hosts": [bad]}],
            [{"service": "network", "hosts": [good]}], "/security/permissions/0/hosts/0")
      for bad, good in (("127.0.0.1", "a.example.com"), ("https://a.example.com", "*.example.com"), ("*", "a.co:8443"),
                        ("localhost", "x.y"), ("*.com", "*.a.com"))),
    *(_case("manifest.format", "api.endpoints", [{**_ENDPOINT, "path": bad}], [{**_ENDPOINT, "path": good}],
            "/api/endpoints/0/path")
      for bad, good in (("a", "/a"), ("/a//b", "/a/b"), ("/{a", "/{a}"), ("/a?b", "/a-b"), ("/a/", "/"))),
    _case("manifest.version", "metadata.version", "v1.0", "1.0.0-rc.1+b"),
    _case("manifest.range", "dependencies.platform", "about 1", "^1.0 || >=2 <3"),
    _case("manifest.range", "dependencies.plugins", {"other": "??"}, {"other": "1.x"}, "/dependencies/plugins/other"),
    _case("manifest.runtime-ambiguous", "dependencies", {"node": "*", "python": "*"}, {"node": "*"}),
    ManifestSample("manifest.runtime-missing", "plugin.json#", _NO_LANGUAGE, _FINE),
    _case("manifest.entry-missing", "entry", "main.ts", "index.js"),
    ManifestSample("manifest.entry-missing", "plugin.json#", manifest(runtime="python"), manifest(runtime="javascript"),
                   says="main.py"),
    _case("manifest.entry-kind", "entry", "main.py", "index.js"),
    _case("manifest.icon-missing", "metadata.icon", "icon.svg", "index.js"),
    _case("manifest.schema-invalid", "configuration", {"type": "strin"}, {"type": "object"}, "/configuration/type"),
    _case("manifest.schema-invalid", "configuration", {"type": "array"}, {"title": "x"}, "/configuration/type"),
    _case("manifest.schema-invalid", "configuration", {"$schema": "http://json-schema.org/draft-07/schema#"},
          {"$schema": "https://json-schema.org/draft/2020-12/schema"}, "/configuration/$schema"),
    _case("manifest.schema-invalid", "functions", {"f": {"input": {"pattern": "(?=a)b"}}},
          {"f": {"input": {"pattern": "^ab$"}}}, "/functions/f/input/pattern"),
    _case("manifest.schema-invalid", "functions", {"f": {"output": {"properties": {"a": {"minimum": "1"}}}}},
          {"f": {"output": True}}, "/functions/f/output/properties/a/minimum"),
    _case("manifest.example", "functions", {"f": {"input": {"type": "object"}, "examples": [{}, 1]}},
          {"f": {"input": {"type": "object"}, "examples": [{}]}}, "/functions/f/examples/1"),
    _case("manifest.example", "functions", {"f": {"examples": ["x" * 32_767]}},
          {"f": {"examples": ["x" * 32_766, 1.0, None]}}, "/functions/f/examples/0"),
    _case("manifest.value", "functions", {"f": {"examples": [1, 2, 3, 4, 5, 6]}},
          {"f": {"examples": [1, 2, 3, 4, 5]}}, "/functions/f/examples"),
    _case("manifest.schema-reference", "functions", {"f": {"input": {"$ref": "https://example.com/s.json"}}},
          {"f": {"input": {"$ref": "#/$defs/a", "$defs": {"a": True}}}}, "/functions/f/input/$ref"),
    _case("manifest.schema-reference", "functions", {"f": {"input": {"$ref": "file:///etc/passwd"}}},
          {"f": {"input": {"$ref": "#a", "$defs": {"a": {"$anchor": "a"}}}}}, "/functions/f/input/$ref"),
    _case("manifest.schema-reference", "configuration", {"$ref": "#/$defs/none"}, {"properties": {"$ref": True}}),
    _case("manifest.schema-reference", "configuration", {"properties": {"a": {"$id": "urn:a"}}},
          {"$id": "urn:a", "properties": {"$id": {"type": "string"}}}, "/configuration/properties/a/$id"),
    _case("manifest.schema-cost", "configuration", _EXPLODING, _TREE),
    _case("manifest.schema-cost", "configuration", _TWICE_DOWN, _ANYTHING),
    _case("manifest.schema-cost", "configuration", {"prefixItems": [{"pattern": "a"}] * 201},
          {"prefixItems": [{"pattern": "a"}] * 200}, says="patterns"),
    _case("manifest.schema-cost", "configuration", {"allOf": [{"$ref": "#"}]}, {"properties": {"a": {"$ref": "#"}}}),
    _case("manifest.default", "configuration", {"properties": {"a": {"type": "integer", "default": "x"}}},
          {"properties": {"a": {"type": "integer", "default": 1}}, "required": ["b"]}, "/configuration/properties/a"),
    _case("manifest.identifier", "functions", {"__proto__": {}}, {"proto": {}}, "/functions/__proto__"),
    _case("manifest.identifier", "functions", {"delete": {}}, {"del": {}}, "/functions/delete"),
    _case("manifest.endpoint-duplicate", "api.endpoints", [{**_ENDPOINT, "path": "/{a}"},
           {**_ENDPOINT, "path": "/{b}"}],
          [_ENDPOINT, {**_ENDPOINT, "method": "POST"}], "/api/endpoints/1"),
    *(_case("manifest.schedule", "schedules", [{"cron": bad, "function": "f"}], [{"cron": good, "function": "f"}],
            "/schedules/0/cron")
      for bad, good in (("* * * * * *", "* * * * *"), ("60 * * * *", "0-59/5 * * * *"), ("5-1 0 * * *",
             "1-5,9 0 * * *"),
                        ("0 0 * * xyz", "0 0 * jan sun"), ("*/0 * * * *", "*/15 * * * *"), ("0 0 0 * *",
                               "0 0 1 12 7"))),
    _case("manifest.time-zone", "schedules", [{"cron": "0 0 * * *", "function": "f", "timeZone": "Mars/Base"}],
          [{"cron": "0 0 * * *", "function": "f", "timeZone": "Europe/Berlin"}], "/schedules/0/timeZone"),
    _case("manifest.permission-duplicate", "security.permissions", ["cache", {"service": "cache"}], ["cache"],
          "/security/permissions/1"),
    _case("manifest.permission-field", "security.permissions", [{"service": "cache", "hosts": ["a.example.com"]}],
          [{"service": "events", "topics": ["a.*"]}], "/security/permissions/0/hosts"),
]  # fmt: skip

# The rule that there must be a manifest at all needs a package without one; test_manifest_rules.py makes it.
MANIFEST_SAMPLES.append(ManifestSample("manifest.missing", "plugin.json", b"", _FINE))
