"""Of all the limits that anybody asks for, the lowest holds."""

from dataclasses import astuple, fields

from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.limits import KILOBYTE, MEGABYTE, WORDS, EffectiveLimits, LimitPolicy, RequestedLimits

ASKED = st.one_of(st.none(), st.integers(1, 10**6))
REQUEST = st.builds(RequestedLimits, *[ASKED] * len(fields(RequestedLimits)))
REQUESTS = st.lists(REQUEST, max_size=4)
CEILING = st.integers(1, 10**6)
POLICIES = st.builds(LimitPolicy, *[CEILING] * len(fields(LimitPolicy)))


@given(POLICIES, REQUESTS)
def test_the_lowest_of_what_is_asked_and_the_ceiling_always_wins(
    policy: LimitPolicy, requests: list[RequestedLimits]
) -> None:
    limits = policy.effective(*requests)
    kinds = (
        ("memory_bytes", "memory_mb", MEGABYTE, policy.default_memory_mb * MEGABYTE, policy.max_memory_mb * MEGABYTE),
        ("timeout_ms", "timeout_ms", 1, policy.default_timeout_ms, policy.max_timeout_ms),
        ("cpu_ms", "cpu_ms", 1, limits.timeout_ms, policy.max_cpu_ms),
        ("output_bytes", "output_kb", KILOBYTE, policy.output_bytes, policy.output_bytes),
        ("log_lines", "log_lines", 1, policy.log_lines, policy.log_lines),
        ("log_bytes", "log_kb", KILOBYTE, policy.log_bytes, policy.log_bytes),
        ("service_calls", "service_calls", 1, policy.service_calls, policy.service_calls),
        ("service_bytes", "service_kb", KILOBYTE, policy.service_bytes, policy.service_bytes),
        ("service_rate", "service_rate", 1, policy.service_rate, policy.service_rate),
        ("in_flight", "in_flight", 1, policy.in_flight, policy.in_flight),
        ("stack_bytes", "stack_kb", KILOBYTE, policy.default_stack_kb * KILOBYTE, policy.max_stack_kb * KILOBYTE),
        ("startup_ms", "startup_ms", 1, policy.default_startup_ms, min(policy.max_startup_ms, limits.timeout_ms)),
    )
    assert {name for name, *_ in kinds} == {field.name for field in fields(EffectiveLimits)}
    for name, key, unit, default, ceiling in kinds:
        asked = [unit * value for one in requests if (value := getattr(one, key)) is not None]
        assert getattr(limits, name) == min([*(asked or [default]), ceiling]), name


@given(POLICIES, REQUESTS, REQUEST)
def test_asking_once_more_never_raises_a_limit_that_was_asked_for(
    policy: LimitPolicy, requests: list[RequestedLimits], more: RequestedLimits
) -> None:
    something = RequestedLimits(**dict.fromkeys(WORDS.values(), 10**6))
    before, then = policy.effective(*requests, something), policy.effective(*requests, something, more)
    assert all(after <= earlier for earlier, after in zip(astuple(before), astuple(then), strict=True))


@given(REQUEST)
def test_what_is_asked_is_the_same_after_it_was_written_down(asked: RequestedLimits) -> None:
    assert RequestedLimits.from_document(asked.to_document()) == asked


def test_every_limit_has_a_word() -> None:
    assert sorted(WORDS.values()) == sorted(field.name for field in fields(RequestedLimits))


def test_the_stack_of_who_asks_for_none_is_the_one_that_environments_wait_with() -> None:
    for policy in (LimitPolicy(), LimitPolicy(default_stack_kb=1024, max_stack_kb=256)):
        assert policy.effective().stack_bytes == policy.stack_bytes


def test_the_promised_manifest_gets_what_it_asks_for() -> None:
    limits = LimitPolicy().effective(RequestedLimits(memory_mb=128, timeout_ms=30_000))
    assert (limits.memory_bytes, limits.timeout_ms, limits.cpu_ms) == (128 * MEGABYTE, 30_000, 30_000)
