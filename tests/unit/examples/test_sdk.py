"""The typed contexts of both languages describe one and the same platform."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from datetime import UTC, datetime
from types import ModuleType

import pytest

from plugyard.application.deliver import _told

from .conftest import ROOT

SERVICES = {
    "Logger": {"debug", "info", "warn", "error"},
    "Database": {"query", "execute", "transaction"},
    "Cache": {"get", "set", "delete", "increment"},
    "Http": {"request", "get", "post", "put", "delete"},
    "Events": {"publish", "subscribe"},
    "Files": {"read", "write", "list", "delete"},
}


@pytest.fixture(scope="module")
def python_sdk() -> ModuleType:
    sys.path.insert(0, str(ROOT / "sdk" / "python"))
    try:
        return importlib.import_module("plugyard_sdk")
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def typescript_sdk() -> str:
    return (ROOT / "sdk" / "typescript" / "index.d.ts").read_text(encoding="utf-8")


def interface(source: str, name: str, pattern: str) -> set[str]:
    body = re.search(rf"^export interface {name}\b[^{{]*{{\n(.*?)^}}", source, re.MULTILINE | re.DOTALL)
    assert body is not None, f"index.d.ts has no interface {name}"
    return set(re.findall(pattern, body[1], re.MULTILINE))


def members(protocol: type) -> set[str]:
    return {name for name, value in vars(protocol).items() if not name.startswith("_") and
            (inspect.isfunction(value) or isinstance(value, property))}  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_same_methods_in_both_languages(
    service: str, python_sdk: ModuleType, typescript_sdk: str
) -> None:
    assert interface(typescript_sdk, service, r"^  (\w+)(?:<.*?>)?\(") == SERVICES[service]
    assert members(getattr(python_sdk, service)) == SERVICES[service]


def test_the_context_has_the_same_fields_in_both_languages(python_sdk: ModuleType, typescript_sdk: str) -> None:
    camel = interface(typescript_sdk, "Context", r"^  readonly (\w+):")
    assert {re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name) for name in camel} == members(
        python_sdk.Context
    )


def test_the_services_of_the_context_are_all_described(python_sdk: ModuleType, typescript_sdk: str) -> None:
    names = {name.lower() for name in SERVICES}
    assert interface(typescript_sdk, "Services", r"^  readonly (\w+):") == names
    assert members(python_sdk.Services) == names


def test_what_a_handler_of_events_is_given_has_the_same_fields_in_both_languages(
    python_sdk: ModuleType, typescript_sdk: str
) -> None:
    told = _told("1", "order.created", {}, datetime.now(UTC)).keys()
    assert interface(typescript_sdk, "HeardEvent", r"^  readonly (\w+):") == told
    assert python_sdk.HeardEvent.__annotations__.keys() == told
