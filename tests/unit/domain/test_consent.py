"""How requests stand, and what of a grant holds for another version."""

from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.consent import AskStatus, asks, weigh
from plugyard.domain.permissions import Permission, Service, not_covered

NETWORK = Permission(Service.NETWORK, ("*.acme.com",), ("GET",), reason="rates")
DATABASE, CACHE = Permission(Service.DATABASE, reason="notes"), Permission(Service.CACHE)


def test_before_the_install_a_request_waits_or_the_policy_gives_it() -> None:
    found = asks((NETWORK, CACHE), (), {Service.CACHE}, installed=False)
    assert [(one.status, one.by_policy) for one in found] == [(AskStatus.WAITING, False), (AskStatus.POLICY, True)]
    assert found[0].permission.reason == "rates"


def test_after_the_install_a_request_was_granted_narrowed_or_declined() -> None:
    narrowed = Permission(Service.NETWORK, ("api.acme.com",), ("GET",))
    found = asks((NETWORK, DATABASE, CACHE), (narrowed, CACHE), (), installed=True)
    assert [one.status for one in found] == [AskStatus.NARROWED, AskStatus.DECLINED, AskStatus.GRANTED]
    assert [one.grant for one in found] == [narrowed, None, CACHE]


def test_what_is_new_goes_beyond_the_grant_unless_the_policy_or_an_admin_gives_it() -> None:
    asked, before = (NETWORK, DATABASE), (NETWORK,)
    assert weigh(asked, before, before, ()).beyond == (DATABASE,)
    assert weigh(asked, before, before, {Service.DATABASE}).kept == asked
    assert weigh(asked, before, before, (), consents=True).kept == asked
    declined = weigh(asked, before, before, (), ())
    assert (declined.kept, declined.beyond) == ((NETWORK,), ())


def test_a_wider_host_goes_beyond_the_grant_and_a_narrower_one_does_not() -> None:
    wide, narrow = Permission(Service.NETWORK, ("*.acme.com",)), Permission(Service.NETWORK, ("api.acme.com",))
    assert weigh((wide,), (narrow,), (narrow,), ()).beyond == (wide,)
    assert weigh((narrow,), (wide,), (wide,), ()).kept == (narrow,)


SERVICES = st.lists(
    st.sampled_from([NETWORK, DATABASE, CACHE, Permission(Service.NETWORK, ("api.acme.com",))]),
    unique_by=lambda one: one.service,
).map(tuple)


@given(SERVICES, SERVICES, st.sets(st.sampled_from(list(Service))))
def test_whatever_is_kept_was_asked_for(
    asked: tuple[Permission, ...], before: tuple[Permission, ...], automatic: set[Service]
) -> None:
    weighed = weigh(asked, before, before, automatic)
    assert not_covered(asked, weighed.kept) == []
    assert {one.service for one in (*weighed.kept, *weighed.beyond)} == {one.service for one in asked}
