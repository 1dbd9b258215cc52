"""A manifest that the gate has accepted, as values. ``sdk/manifest.schema.json`` is its only definition."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from plugyard.domain.limits import RequestedLimits
from plugyard.domain.permissions import Permission
from plugyard.domain.queue import NO_RETRY, RetryRule
from plugyard.domain.versions import Version, VersionRange


class Runtime(StrEnum):
    """What a plugin runs on."""

    JAVASCRIPT = "javascript"
    PYTHON = "python"
    WASM = "wasm"


class Effect(StrEnum):
    """Whether a function only reads, or changes something in the world."""

    READ = "read"
    WRITE = "write"


class Isolation(StrEnum):
    """``shared``: an environment serves many executions of one tenant's plugin; ``fresh``: one each."""

    SHARED = "shared"
    FRESH = "fresh"


DEFAULT_ENTRIES = {
    Runtime.JAVASCRIPT: ("index.ts", "index.js", "index.mjs"),
    Runtime.PYTHON: ("main.py",),
    Runtime.WASM: ("plugin.wasm",),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the plugin's own HTTP endpoints."""

    method: str
    path: str
    handler: str


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """What a manifest says of one function; the schemas are JSON Schema 2020-12 objects, ``examples`` are inputs."""

    name: str
    description: str = ""
    input: dict[str, Any] | bool | None = None
    output: dict[str, Any] | bool | None = None
    effect: Effect = Effect.WRITE
    examples: tuple[Any, ...] = ()
    retry: RetryRule = NO_RETRY  # of executions that nobody waits for


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest's fields that the service acts on; ``document`` keeps the author's own words, all of them."""

    name: str
    version: Version
    runtime: Runtime
    entry: str
    description: str
    author: str
    category: str
    keywords: tuple[str, ...]
    platform: VersionRange | None
    plugins: dict[str, VersionRange]
    permissions: tuple[Permission, ...]
    limits: RequestedLimits
    isolation: Isolation
    modules: tuple[str, ...] | None
    configuration: dict[str, Any] | None
    functions: dict[str, FunctionSpec]
    endpoints: tuple[Endpoint, ...]
    document: dict[str, Any]

    @classmethod
    def from_document(cls, document: dict[str, Any], *, entry: str | None = None) -> "Manifest":
        """Read a document that the gate accepted. ``entry`` is what the gate found where the manifest names none."""
        metadata, dependencies = document["metadata"], document.get("dependencies", {})
        security, limits = document.get("security", {}), document.get("security", {}).get("resourceLimits", {})
        runtime = infer_runtime(document)
        return cls(
            name=metadata["name"],
            version=Version.parse(metadata["version"]),
            runtime=runtime,
            entry=entry or document.get("entry") or DEFAULT_ENTRIES[runtime][0],
            description=metadata.get("description", ""),
            author=metadata.get("author", ""),
            category=metadata.get("category", ""),
            keywords=tuple(metadata.get("keywords", ())),
            platform=VersionRange.parse(dependencies["platform"]) if "platform" in dependencies else None,
            plugins={name: VersionRange.parse(text) for name, text in dependencies.get("plugins", {}).items()},
            permissions=tuple(Permission.from_document(one) for one in security.get("permissions", ())),
            limits=RequestedLimits.from_document(limits),
            isolation=Isolation(security.get("isolation", "shared")),
            modules=tuple(security["modules"]) if "modules" in security else None,
            configuration=document.get("configuration"),
            functions={
                name: FunctionSpec(
                    name,
                    spec.get("description", ""),
                    spec.get("input"),
                    spec.get("output"),
                    Effect(spec.get("effect", "write")),
                    tuple(spec.get("examples", ())),
                    RetryRule.from_document(spec["retry"]) if "retry" in spec else NO_RETRY,
                )
                for name, spec in document.get("functions", {}).items()
            },
            endpoints=tuple(Endpoint(**one) for one in document.get("api", {}).get("endpoints", ())),
            document=document,
        )

    def callable_functions(self, exports: tuple[str, ...]) -> tuple[str, ...]:
        """What may be run: the declared functions and handlers, or all exports where nothing is declared.

        What only schedules and events name is no declaration of the rest, so it adds to what is declared.
        """
        declared = dict.fromkeys([*self.functions, *(endpoint.handler for endpoint in self.endpoints)])
        if not declared:
            return exports
        return tuple(dict.fromkeys([*declared, *self._named_beside(exports)]))

    def _named_beside(self, exports: tuple[str, ...]) -> list[str]:
        """The functions of schedules and events; the usual name of the handler only where the code has it."""
        events = self.document.get("events", {})
        usual = "on_event" if self.runtime is Runtime.PYTHON else "onEvent"
        named = [one["function"] for one in self.document.get("schedules", ())]
        if "handler" in events:
            named.append(events["handler"])
        elif "subscribes" in events and usual in exports:
            named.append(usual)
        return named

    def absent_functions(self, exports: tuple[str, ...]) -> tuple[str, ...]:
        """Functions that the manifest names and the code does not export."""
        return tuple(name for name in self.callable_functions(exports) if name not in exports)


def infer_runtime(document: dict[str, Any]) -> Runtime:
    """The runtime named, or else the one whose language ``dependencies`` names; ``ValueError`` where neither is."""
    if "runtime" in document:
        return Runtime(document["runtime"])
    named = [
        runtime
        for key, runtime in (("node", Runtime.JAVASCRIPT), ("python", Runtime.PYTHON))
        if key in document.get("dependencies", {})
    ]
    if len(named) != 1:
        raise ValueError('name the runtime: add "runtime": "javascript" or "python"')
    return named[0]
