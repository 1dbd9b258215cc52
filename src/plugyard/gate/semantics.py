"""What a JSON Schema cannot say of a manifest: versions, ranges, schedules, schemas within it, and what is named twice.

``manifest`` calls ``check`` after the schema, whatever the schema found: each rule here looks only at values that have
the right type, so that an author reads everything at once.
"""

import keyword
import re
import zoneinfo
from collections.abc import Iterator
from functools import cache
from typing import Any

from plugyard.domain.manifest import Runtime
from plugyard.domain.versions import Version, VersionRange
from plugyard.gate import authorschemas, cron, schemacost
from plugyard.gate.findings import Findings
from plugyard.gate.strictjson import Document, child

_ECMASCRIPT_RESERVED = frozenset({
    "await", "break", "case", "catch", "class", "const", "continue", "debugger", "default", "delete", "do",
    "else", "enum", "export", "extends", "false", "finally", "for", "function", "if", "implements", "import",
    "in", "instanceof", "interface", "let", "new", "null", "package", "private", "protected", "public",
    "return", "static", "super", "switch", "this", "throw", "true", "try", "typeof", "var", "void", "while",
    "with", "yield",
})  # fmt: skip
_PARAMETER = re.compile(r"\{[^}]*\}")
_NARROWING = {"hosts": "network", "methods": "network", "paths": "network", "topics": "events"}


@cache
def time_zones() -> frozenset[str]:
    """All names of the IANA database. Reads files, so the jailed process calls it before the jail closes."""
    return frozenset(zoneinfo.available_timezones())


def check(document: Document, runtime: Runtime | None, findings: Findings) -> None:
    """Report what is wrong although each value has the right shape, save for the author's own schemas."""
    root = document.value
    if not isinstance(root, dict):
        return

    def add(rule: str, pointer: str, what: str) -> None:
        findings.add(rule, document.where(pointer), what, line=document.line(pointer))

    for part in (_versions, _names, _endpoints, _schedules, _permissions, _modules):
        for rule, pointer, what in part(root, runtime):
            add(rule, pointer, what)


def check_schemas(document: Document, findings: Findings) -> None:
    """Report what is wrong with the schemas in the manifest. Hostile ones can take seconds."""
    root = _dict(document.value)
    budget = schemacost.Budget()
    configuration = root.get("configuration")
    if isinstance(configuration, dict) and authorschemas.check(
        configuration, "/configuration", document, findings, budget
    ):
        if configuration.get("type", "object") != "object":
            what = "must describe an object, for settings have names"
            line = document.line("/configuration/type")
            findings.add("manifest.schema-invalid", document.where("/configuration/type"), what, line=line)
        else:
            authorschemas.check_defaults(configuration, "/configuration", document, findings)
    for name, spec in _dict(root.get("functions")).items():
        function = child("/functions", name)
        sound = {
            key: authorschemas.check(_dict(spec).get(key), child(function, key), document, findings, budget)
            for key in ("input", "output")
        }
        schema: dict[str, Any] | bool = _dict(spec)["input"] if sound["input"] else True
        authorschemas.check_examples(schema, _list(_dict(spec).get("examples")), function, document, findings)


_Problems = Iterator[tuple[str, str, str]]


def infer_runtime(document: Document, findings: Findings) -> Runtime | None:
    """The runtime that the manifest names or implies; ``None`` with a finding where it does neither."""
    root = _dict(document.value)
    if "runtime" in root:
        named = root["runtime"]
        return Runtime(named) if isinstance(named, str) and named in set(Runtime) else None
    languages = [key for key in ("node", "python") if key in _dict(root.get("dependencies"))]
    if len(languages) == 1:
        return Runtime.JAVASCRIPT if languages == ["node"] else Runtime.PYTHON
    if languages:
        what = "dependencies name both node and python, and runtime is not given"
        line = document.line("/dependencies")
        findings.add("manifest.runtime-ambiguous", document.where("/dependencies"), what, line=line)
    else:
        what = "neither runtime nor dependencies.node nor dependencies.python is given"
        findings.add("manifest.runtime-missing", document.where(""), what, line=document.line(""))
    return None


def _versions(root: dict[str, Any], _: Runtime | None) -> _Problems:
    version = _dict(root.get("metadata")).get("version")
    if isinstance(version, str):
        try:
            Version.parse(version)
        except ValueError as error:
            yield "manifest.version", "/metadata/version", str(error)
    dependencies = _dict(root.get("dependencies"))
    ranges = {f"/dependencies/{key}": dependencies.get(key) for key in ("platform", "node", "python")}
    for name, text in _dict(dependencies.get("plugins")).items():
        ranges[child("/dependencies/plugins", name)] = text
        if name == _dict(root.get("metadata")).get("name"):
            yield "manifest.value", child("/dependencies/plugins", name), "is the plugin itself"
    for pointer, text in ranges.items():
        if isinstance(text, str):
            try:
                VersionRange.parse(text)
            except ValueError as error:
                yield "manifest.range", pointer, str(error)


def _names(root: dict[str, Any], runtime: Runtime | None) -> _Problems:
    named: list[tuple[str, Any]] = [(child("/functions", name), name) for name in _dict(root.get("functions"))]
    endpoints = _list(_dict(root.get("api")).get("endpoints"))
    named += [(f"/api/endpoints/{at}/handler", _dict(one).get("handler")) for at, one in enumerate(endpoints)]
    schedules = _list(root.get("schedules"))
    named += [(f"/schedules/{at}/function", _dict(one).get("function")) for at, one in enumerate(schedules)]
    named.append(("/events/handler", _dict(root.get("events")).get("handler")))
    for pointer, name in named:
        if not isinstance(name, str):
            continue
        if name.startswith("__"):
            yield "manifest.identifier", pointer, f"{name!r} begins with __, which the languages keep for themselves"
        elif runtime is Runtime.PYTHON and (keyword.iskeyword(name) or "$" in name):
            yield "manifest.identifier", pointer, f"{name!r} cannot be the name of a Python function"
        elif runtime is Runtime.JAVASCRIPT and name in _ECMASCRIPT_RESERVED:
            yield "manifest.identifier", pointer, f"{name!r} is a reserved word of JavaScript"


def _endpoints(root: dict[str, Any], _: Runtime | None) -> _Problems:
    seen: dict[tuple[str, str], int] = {}
    for at, endpoint in enumerate(_list(_dict(root.get("api")).get("endpoints"))):
        method, path = _dict(endpoint).get("method"), _dict(endpoint).get("path")
        if not isinstance(method, str) or not isinstance(path, str):
            continue
        # The names of parameters do not tell two paths apart.
        first = seen.setdefault((method, _PARAMETER.sub("{}", path)), at)
        if first != at:
            yield "manifest.endpoint-duplicate", f"/api/endpoints/{at}", f"{method} {path} is already endpoint {first}"


def _schedules(root: dict[str, Any], _: Runtime | None) -> _Problems:
    for at, schedule in enumerate(_list(root.get("schedules"))):
        expression, zone = _dict(schedule).get("cron"), _dict(schedule).get("timeZone")
        if isinstance(expression, str) and (complaint := cron.problem(expression)):
            yield "manifest.schedule", f"/schedules/{at}/cron", complaint
        if isinstance(zone, str) and zone not in time_zones():
            yield "manifest.time-zone", f"/schedules/{at}/timeZone", f"{zone!r} is no time zone of the IANA database"


def _permissions(root: dict[str, Any], _: Runtime | None) -> _Problems:
    first: dict[str, int] = {}
    for at, permission in enumerate(_list(_dict(root.get("security")).get("permissions"))):
        pointer = f"/security/permissions/{at}"
        service = permission if isinstance(permission, str) else _dict(permission).get("service")
        if not isinstance(service, str):
            continue
        if first.setdefault(service, at) != at:
            yield "manifest.permission-duplicate", pointer, f"{service} is already asked for in item {first[service]}"
        for key in _dict(permission):
            if key in _NARROWING and service != _NARROWING[key]:
                what = f"{key!r} narrows {_NARROWING[key]} and says nothing about {service}"
                yield "manifest.permission-field", child(pointer, key), what


def _modules(root: dict[str, Any], runtime: Runtime | None) -> _Problems:
    if runtime is Runtime.WASM and "modules" in _dict(root.get("security")):
        yield "manifest.value", "/security/modules", "says nothing of a component, whose imports are its own"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
