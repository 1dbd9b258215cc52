"""Rights one by one: since when they are held, what counts as their use, and what dropping one leaves."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.permissions import Permission, Service, not_covered
from plugyard.domain.rights import Right, dated, rights_of, uses_of, without

START = datetime(2026, 3, 1, tzinfo=UTC)
LATER = START + timedelta(days=3)
NETWORK = Permission(Service.NETWORK, ("*.acme.com", "rates.example"), ("GET",))
DATABASE, EVENTS = Permission(Service.DATABASE), Permission(Service.EVENTS, topics=("invoice.*",))
WIDE, EXACT = Right(Service.NETWORK, "*.acme.com"), Right(Service.NETWORK, "rates.example")


def test_a_grant_holds_its_service_and_each_host_and_topic() -> None:
    assert rights_of((NETWORK, DATABASE, EVENTS)) == (
        Right(Service.NETWORK), WIDE, EXACT, Right(Service.DATABASE),
        Right(Service.EVENTS), Right(Service.EVENTS, "invoice.*"),
    )  # fmt: skip


def test_what_was_held_before_keeps_its_time_and_what_is_new_gets_one() -> None:
    first = dated((DATABASE,), {}, START)
    both = dated((DATABASE, EVENTS), first, LATER)
    assert both == {"database": START, "events": LATER, "events invoice.*": LATER}
    assert dated((EVENTS,), both, LATER) == {"events": LATER, "events invoice.*": LATER}


def test_the_use_of_a_host_counts_for_the_entry_that_allows_it_and_for_the_service() -> None:
    used = {Right(Service.NETWORK, "api.acme.com"): LATER, Right(Service.NETWORK, "other.example"): START}
    service, wide, exact = uses_of((NETWORK,), {}, used, START)
    assert service.last_used_at == LATER
    assert (wide.last_used_at, wide.seen) == (LATER, (("api.acme.com", LATER),))
    assert (exact.last_used_at, exact.seen) == (None, ())


@pytest.mark.parametrize(
    ("used_at", "days", "unused"),
    [(None, 29, False), (None, 30, True), (LATER, 32, False), (LATER, 33, True)],
)
def test_days_are_counted_from_the_last_use_or_else_from_the_grant(
    used_at: datetime | None, days: int, unused: bool
) -> None:
    used = {Right(Service.DATABASE): used_at} if used_at else {}
    (use,) = uses_of((DATABASE,), {"database": START}, used, LATER)
    assert use.unused_at(START + timedelta(days=days), timedelta(days=30)) is unused


def test_a_right_that_was_granted_anew_is_not_unused_for_its_old_use() -> None:
    (use,) = uses_of((DATABASE,), {"database": LATER}, {Right(Service.DATABASE): START}, START)
    assert not use.unused_at(START + timedelta(days=31), timedelta(days=30))


def test_dropping_leaves_the_rest() -> None:
    held = (NETWORK, DATABASE, EVENTS)
    assert without(held, [EXACT]) == (Permission(Service.NETWORK, ("*.acme.com",), ("GET",)), DATABASE, EVENTS)
    assert without(held, [Right(Service.DATABASE)]) == (NETWORK, EVENTS)
    assert without(held, []) == held


def test_dropping_the_last_host_drops_the_service_and_never_opens_it() -> None:
    assert without((NETWORK, DATABASE), [WIDE, EXACT]) == (DATABASE,)
    assert without((EVENTS,), [Right(Service.EVENTS, "invoice.*")]) == ()


HELD = st.lists(st.sampled_from([NETWORK, DATABASE, EVENTS, Permission(Service.CACHE)]), unique=True).map(tuple)


@given(HELD, st.data())
def test_dropping_never_gives_a_right(held: tuple[Permission, ...], data: st.DataObject) -> None:
    every = rights_of(held)
    gone = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    left = without(held, gone)
    assert not_covered(held, left) == []
    assert set(rights_of(left)) <= set(every) - set(gone)
    # No list of names became empty, which would stand for all names.
    assert {one.service for one in left if not (one.hosts or one.topics)} <= {Service.DATABASE, Service.CACHE}
