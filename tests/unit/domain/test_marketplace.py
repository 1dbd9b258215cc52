"""The featured score: bounded, fair to newcomers, and moved by what it says it is moved by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.manifest import Manifest
from plugyard.domain.marketplace import Listing, featured_score
from tests.memory.chance import START
from tests.memory.world import manifest

RATINGS = st.integers(0, 1000).flatmap(lambda count: st.tuples(st.integers(count, 5 * count), st.just(count)))
INSTALLATIONS = st.integers(0, 10**6)
HEALTH = st.one_of(st.none(), st.integers(0, 100))


@given(RATINGS, INSTALLATIONS, HEALTH)
def test_the_score_lies_between_nought_and_one(rated: tuple[int, int], installations: int, health: int | None) -> None:
    assert 0 <= featured_score(*rated, installations, health) <= 1


@given(RATINGS, INSTALLATIONS, st.integers(0, 99))
def test_more_of_anything_good_never_lowers_the_score(rated: tuple[int, int], installations: int, health: int) -> None:
    score = featured_score(*rated, installations, health)
    assert featured_score(rated[0] + 5, rated[1] + 1, installations, health) >= score
    assert featured_score(*rated, installations + 1, health) >= score
    assert featured_score(*rated, installations, health + 1) > score
    assert featured_score(rated[0] + 1, rated[1] + 1, installations, health) <= score


def test_one_friend_s_five_stars_weigh_less_than_many_good_ratings() -> None:
    assert featured_score(5, 1, 0, None) < featured_score(45 * 4, 45, 0, None)


def test_unknown_health_counts_as_eighty() -> None:
    assert featured_score(0, 0, 0, None) == featured_score(0, 0, 0, 80)


def test_full_marks_are_reached_only_by_the_best() -> None:
    assert featured_score(5 * 10**9, 10**9, 10_000, 100) == pytest.approx(1.0)
    assert featured_score(5, 1, 10_000, 100) < 0.8


def listing(rating_sum: int, rating_count: int) -> Listing:
    document = Manifest.from_document(manifest())
    return Listing(
        "l", "t", "p", "v", "greeter", "1.0.0", "d", document, ("greet",), 9, START, None, 3, rating_sum, rating_count
    )


def test_a_listing_shows_its_mean_rating_and_its_score() -> None:
    assert listing(0, 0).rating is None
    assert listing(14, 3).rating == 4.67
    assert listing(14, 3).score == featured_score(14, 3, 3, None)
