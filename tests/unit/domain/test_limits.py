"""Of all the limits that anybody asks for, the lowest holds."""

from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.limits import MEGABYTE, LimitPolicy, RequestedLimits

ASKED = st.one_of(st.none(), st.integers(1, 10**6))
REQUESTS = st.lists(st.builds(RequestedLimits, ASKED, ASKED, ASKED), max_size=4)
CEILING = st.integers(1, 10**6)
POLICIES = st.builds(LimitPolicy, CEILING, CEILING, CEILING, CEILING, CEILING, CEILING, CEILING, CEILING)


@given(POLICIES, REQUESTS)
def test_the_lowest_of_what_is_asked_and_the_ceiling_always_wins(
    policy: LimitPolicy, requests: list[RequestedLimits]
) -> None:
    limits = policy.effective(*requests)
    for got, key, default, ceiling in (
        (limits.memory_bytes / MEGABYTE, "memory_mb", policy.default_memory_mb, policy.max_memory_mb),
        (limits.timeout_ms, "timeout_ms", policy.default_timeout_ms, policy.max_timeout_ms),
        (limits.cpu_ms, "cpu_ms", limits.timeout_ms, policy.max_cpu_ms),
    ):
        asked = [value for one in requests if (value := getattr(one, key)) is not None]
        assert got == min([*(asked or [default]), ceiling])
    assert (limits.output_bytes, limits.log_lines, limits.log_bytes) == (
        policy.output_bytes,
        policy.log_lines,
        policy.log_bytes,
    )


@given(POLICIES, REQUESTS, st.builds(RequestedLimits, ASKED, ASKED, ASKED))
def test_asking_once_more_never_raises_a_limit_that_was_asked_for(
    policy: LimitPolicy, requests: list[RequestedLimits], more: RequestedLimits
) -> None:
    base = [*requests, RequestedLimits(policy.default_memory_mb, policy.default_timeout_ms, policy.max_cpu_ms)]
    before, then = policy.effective(*base), policy.effective(*base, more)
    assert then.memory_bytes <= before.memory_bytes
    assert then.timeout_ms <= before.timeout_ms
    assert then.cpu_ms <= before.cpu_ms


def test_the_promised_manifest_gets_what_it_asks_for() -> None:
    limits = LimitPolicy().effective(RequestedLimits(memory_mb=128, timeout_ms=30_000))
    assert (limits.memory_bytes, limits.timeout_ms, limits.cpu_ms) == (128 * MEGABYTE, 30_000, 30_000)
