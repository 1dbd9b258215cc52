"""What is kept of endpoints' answers, for whom, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest

from plugyard.application.endpointanswers import EndpointAnswer
from plugyard.application.endpointcache import MAX_VARIANTS, EndpointCache, lasts

NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)
KEY = ("tenant", "plugin", "version", "change", "/rates", "")


def _answer(control: str | None = "public, max-age=60", body: bytes = b"x", status: int = 200,
            **more: str) -> EndpointAnswer:  # fmt: skip
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    if control is not None:
        headers["cache-control"] = control
    return EndpointAnswer(status, tuple(headers.items()), body)


@pytest.fixture
def cache() -> EndpointCache:
    return EndpointCache(1_000_000)


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        ("public, max-age=60", 60),
        ("Public,Max-Age=60", 60),
        ("public, max-age=60, s-maxage=5", 5),
        ('public, max-age="60"', 60),
        ("public, max-age=99999999", 86_400),
        ("max-age=60", 0),
        ("public", 0),
        ("public, max-age=0", 0),
        ("public, max-age=-1", 0),
        ("public, max-age=²", 0),
        ("public, private, max-age=60", 0),
        ("public, no-store, max-age=60", 0),
        ("public, no-cache, max-age=60", 0),
        (None, 0),
    ],
)
def test_only_what_says_that_it_is_public_and_for_how_long_is_kept(control: str | None, seconds: int) -> None:
    assert lasts(_answer(control)) == seconds


def test_an_error_is_not_kept() -> None:
    assert lasts(_answer(status=500)) == 0


def test_what_is_kept_is_served_with_its_age_until_it_is_stale(cache: EndpointCache) -> None:
    cache.keep(KEY, {}, _answer(), NOW)
    for seconds, age in ((0, "0"), (59, "59")):
        at = NOW + timedelta(seconds=seconds)
        kept = cache.get(KEY, {}, at)
        assert kept is not None
        assert kept.served(at).header("age") == age
    assert cache.get(KEY, {}, NOW + timedelta(seconds=60)) is None
    assert cache.held_bytes == 0


@pytest.mark.parametrize("place", range(len(KEY)))
def test_another_tenant_plugin_version_change_path_or_query_finds_nothing(cache: EndpointCache, place: int) -> None:
    cache.keep(KEY, {}, _answer(), NOW)
    other = (*KEY[:place], "other", *KEY[place + 1 :])
    assert cache.get(other, {}, NOW) is None


def test_an_answer_that_varies_is_found_by_the_same_header_alone(cache: EndpointCache) -> None:
    for language in ("de", "fr"):
        answer = _answer(body=language.encode(), vary="Accept-Language, accept")
        cache.keep(KEY, {"accept-language": language}, answer, NOW)
    for language in ("de", "fr"):
        kept = cache.get(KEY, {"accept-language": language}, NOW)
        assert kept is not None
        assert kept.answer.body == language.encode()
    assert cache.get(KEY, {"accept-language": "it"}, NOW) is None
    assert cache.get(KEY, {}, NOW) is None
    assert cache.get(KEY, {"accept-language": "de", "accept": "x"}, NOW) is None


@pytest.mark.parametrize("vary", ["*", "accept, *", "Authorization", "Cookie"])
def test_what_varies_by_what_nobody_sees_is_not_kept(cache: EndpointCache, vary: str) -> None:
    cache.keep(KEY, {}, _answer(vary=vary), NOW)
    assert cache.get(KEY, {}, NOW) is None


@pytest.mark.parametrize("control", ["no-cache", "no-store", "max-age=0"])
def test_a_caller_may_ask_for_a_new_answer(cache: EndpointCache, control: str) -> None:
    cache.keep(KEY, {}, _answer(), NOW)
    assert cache.get(KEY, {"cache-control": control}, NOW) is None
    assert cache.get(KEY, {}, NOW) is not None


def test_an_answer_that_varies_otherwise_takes_the_place_of_the_others(cache: EndpointCache) -> None:
    cache.keep(KEY, {"accept": "a"}, _answer(vary="accept"), NOW)
    cache.keep(KEY, {}, _answer(), NOW)
    one = cache.held_bytes
    assert cache.get(KEY, {"accept": "b"}, NOW) is not None
    cache.keep(KEY, {}, _answer(), NOW)
    assert cache.held_bytes == one


def test_the_bytes_are_bounded_and_the_tenant_that_holds_most_makes_room() -> None:
    cache = EndpointCache(100_000)
    cache.keep(("small", "p"), {}, _answer(), NOW)
    for number in range(1_000):
        cache.keep(("large", str(number)), {}, _answer(body=b"x" * 1_000), NOW)
        assert cache.held_bytes <= 100_000
    assert cache.get(("small", "p"), {}, NOW) is not None
    assert cache.get(("large", "999"), {}, NOW) is not None
    assert cache.get(("large", "0"), {}, NOW) is None
    cache.forget("large")
    assert cache.held_bytes < 1_000


def test_variants_are_bounded_and_a_large_answer_is_not_kept(cache: EndpointCache) -> None:
    for number in range(MAX_VARIANTS + 5):
        cache.keep(KEY, {"accept": str(number)}, _answer(vary="accept"), NOW)
    assert cache.get(KEY, {"accept": "4"}, NOW) is None
    assert cache.get(KEY, {"accept": "5"}, NOW) is not None
    cache.keep(("t", "large"), {}, _answer(body=b"x" * 70_000), NOW)
    assert cache.get(("t", "large"), {}, NOW) is None


def test_a_cache_of_no_size_keeps_nothing() -> None:
    cache = EndpointCache(0)
    cache.keep(KEY, {}, _answer(), NOW)
    assert cache.get(KEY, {}, NOW) is None


def test_what_callers_choose_counts_too(cache: EndpointCache) -> None:
    """A short answer that varies by a long header, asked for with new values, holds no more than its bytes."""
    for number in range(500):
        headers = {"x-a": f"{number:05}" * 4_000}
        key = (*KEY[:-1], f"q={number:05}" * 500)
        cache.keep(key, headers, _answer(vary="x-a"), NOW)
    kept = sum(
        cache.get((*KEY[:-1], f"q={n:05}" * 500), {"x-a": f"{n:05}" * 4_000}, NOW) is not None for n in range(500)
    )
    assert 0 < kept < 50
    assert 20_000 * kept < cache.held_bytes <= 1_000_000
