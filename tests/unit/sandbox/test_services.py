"""The broker's services: grants decide, and a log holds what fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.services import registry
from plugyard.sandbox.services.base import Denied, ServiceFault
from plugyard.sandbox.services.logger import LogBook
from plugyard.sandbox.services.registry import Services


def test_every_permission_word_of_the_domain_opens_one_service() -> None:
    assert sorted(registry.PERMISSIONS.values()) == sorted(service.value for service in Service)


def test_a_call_without_its_grant_is_denied() -> None:
    with pytest.raises(Denied, match='needs the permission "network"'):
        Services().find("http", "request", (Permission(Service.CACHE),))


def test_a_granted_call_says_that_the_service_is_not_offered() -> None:
    with pytest.raises(ServiceFault) as fault:
        Services().find("http", "request", (Permission(Service.NETWORK),))
    assert fault.value.code == "service_unavailable"


@given(st.text(), st.text())
def test_an_unknown_service_is_a_fault(service: str, method: str) -> None:
    with pytest.raises(ServiceFault):
        Services().find(service, method, (Permission(Service.DATABASE),))


def test_a_tenant_has_a_burst_of_one_second_and_then_waits_its_turn() -> None:
    pace = registry.Pace(100)
    delays = [pace.delay("acme") for _ in range(150)]
    assert max(delays[:99]) == 0
    assert 0.3 < delays[-1] < 0.51
    assert pace.delay("globex") == 0


def test_a_log_keeps_its_lines_and_says_once_that_more_were_cut() -> None:
    book = LogBook(lines=2, size=1000)
    for number in range(3):
        book.add("info", f"line {number}", b"{}")
    assert [line.message for line in book.lines][:2] == ["line 0", "line 1"]
    assert book.lines[2].fields == {"truncated": True}
    assert "its limit of 2 lines" in book.lines[2].message
    assert len(book.lines) == 3
    assert not book.flooded
    book.add("info", "one too many", b"{}")
    assert book.flooded
    assert len(book.lines) == 3


def test_a_log_is_capped_by_size_too() -> None:
    book = LogBook(lines=100, size=10)
    book.add("info", "x" * 11, b"{}")
    assert book.full
    assert "its limit of 10 bytes" in book.lines[0].message


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
