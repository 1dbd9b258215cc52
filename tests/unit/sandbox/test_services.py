"""The broker's services: grants decide, and a log holds what fits."""

import json

from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.permissions import Service
from plugyard.sandbox.services import registry
from plugyard.sandbox.services.logger import LogBook


def test_every_permission_word_of_the_domain_opens_one_service() -> None:
    assert sorted(registry.PERMISSIONS.values()) == sorted(service.value for service in Service)


def test_a_call_without_its_grant_is_denied_and_a_violation() -> None:
    reply = registry.answer("http", "request", frozenset({"cache"}))
    assert not reply.ok
    assert json.loads(reply.value)["code"] == "permission_denied"
    assert reply.violation is not None
    assert reply.violation.detail == "http.request without the permission network"


def test_a_granted_call_says_that_the_service_is_not_offered() -> None:
    reply = registry.answer("http", "request", frozenset({"network"}))
    assert json.loads(reply.value)["code"] == "service_unavailable"
    assert reply.violation is None


@given(st.text(), st.text())
def test_an_unknown_service_is_an_error_and_never_an_exception(service: str, method: str) -> None:
    assert not registry.answer(service, method, frozenset({"database"})).ok


def test_a_log_keeps_its_lines_and_says_once_that_more_were_cut() -> None:
    book = LogBook(lines=2, size=1000)
    for number in range(3):
        book.add("info", f"line {number}", b"{}")
    assert [line.message for line in book.lines][:2] == ["line 0", "line 1"]
    assert book.lines[2].fields == {"truncated": True}
    assert len(book.lines) == 3
    assert not book.flooded
    book.add("info", "one too many", b"{}")
    assert book.flooded
    assert len(book.lines) == 3


def test_a_log_is_capped_by_size_too() -> None:
    book = LogBook(lines=100, size=10)
    book.add("info", "x" * 11, b"{}")
    assert book.full


@given(st.text(), st.text(), st.binary())
def test_whatever_a_line_holds_it_is_kept_or_cut(level: str, message: str, fields: bytes) -> None:
    book = LogBook(lines=5, size=10_000)
    book.add(level, message, fields)
    assert book.lines[0].level in ("debug", "info", "warning", "error")
    assert "\0" not in book.lines[0].message
    assert isinstance(book.lines[0].fields, dict)


def test_an_unknown_level_is_info() -> None:
    book = LogBook(lines=5, size=10_000)
    book.add("fatal", "x", b'{"a": [1]}')
    assert (book.lines[0].level, book.lines[0].fields) == ("info", {"a": [1]})
