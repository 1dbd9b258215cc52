"""A manifest as values: the promised one to the letter, and every optional field."""

import pytest

from plugyard.domain.limits import RequestedLimits
from plugyard.domain.manifest import Effect, Endpoint, Isolation, Manifest, Runtime, infer_runtime
from plugyard.domain.permissions import Permission, Service
from tests.memory.world import manifest

PROMISED = {
    "metadata": {
        "name": "my-plugin",
        "version": "1.0.0",
        "description": "My awesome plugin",
        "author": "Developer Name",
        "category": "utility",
    },
    "dependencies": {"platform": ">=1.0.0", "node": ">=18.0.0"},
    "security": {"permissions": ["database", "network"], "resourceLimits": {"memory": 128, "timeout": 30000}},
    "api": {"endpoints": [{"method": "GET", "path": "/my-endpoint", "handler": "handleRequest"}]},
}


def test_the_promised_manifest_is_read_to_the_letter() -> None:
    read = Manifest.from_document(PROMISED, entry="index.js")
    assert (read.name, str(read.version), read.runtime, read.entry) == (
        "my-plugin",
        "1.0.0",
        Runtime.JAVASCRIPT,
        "index.js",
    )
    assert read.permissions == (Permission(Service.DATABASE), Permission(Service.NETWORK))
    assert read.limits == RequestedLimits(128, 30_000, None)
    assert read.endpoints == (Endpoint("GET", "/my-endpoint", "handleRequest"),)
    assert str(read.platform) == ">=1.0.0"
    assert (read.configuration, read.functions, read.isolation) == (None, {}, Isolation.SHARED)
    assert read.document is PROMISED


def test_every_optional_field_is_read() -> None:
    read = Manifest.from_document(
        manifest(
            runtime="python",
            entry="app.py",
            dependencies={"plugins": {"tax": "^1.0.0"}},
            configuration={"type": "object"},
            security={"isolation": "fresh", "permissions": [{"service": "events", "topics": ["orders"]}]},
            functions={
                "quote": {"description": "Quotes", "input": {"type": "object"}, "output": True, "effect": "read"},
                "book": {},
            },
        )
    )
    assert (read.runtime, read.entry, read.isolation) == (Runtime.PYTHON, "app.py", Isolation.FRESH)
    assert {name: str(range_) for name, range_ in read.plugins.items()} == {"tax": "^1.0.0"}
    assert read.permissions == (Permission(Service.EVENTS, topics=("orders",)),)
    assert (read.functions["quote"].effect, read.functions["book"].effect) == (Effect.READ, Effect.WRITE)
    assert read.functions["book"].input is None


@pytest.mark.parametrize(
    ("document", "runtime"),
    [
        ({"runtime": "wasm"}, Runtime.WASM),
        ({"runtime": "python", "dependencies": {"node": "*"}}, Runtime.PYTHON),
        ({"dependencies": {"node": "*"}}, Runtime.JAVASCRIPT),
        ({"dependencies": {"python": "*"}}, Runtime.PYTHON),
    ],
)
def test_the_runtime_is_named_or_inferred(document: dict[str, object], runtime: Runtime) -> None:
    assert infer_runtime(document) is runtime


@pytest.mark.parametrize("document", [{}, {"dependencies": {"node": "*", "python": "*"}}])
def test_a_runtime_that_cannot_be_inferred_is_asked_for(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="name the runtime"):
        infer_runtime(document)


def test_callers_may_name_what_is_declared_or_else_what_is_exported() -> None:
    declared = Manifest.from_document(
        manifest(
            functions={"quote": {}},
            api={"endpoints": [{"method": "GET", "path": "/", "handler": "page"}] * 2},
        )
    )
    assert declared.callable_functions(("quote", "page", "internal")) == ("quote", "page")
    assert declared.absent_functions(("quote",)) == ("page",)
    undeclared = Manifest.from_document(manifest())
    assert undeclared.callable_functions(("greet", "wave")) == ("greet", "wave")
    assert undeclared.absent_functions(("greet",)) == ()
