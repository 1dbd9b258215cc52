"""Listings: versions that a publisher offers to every tenant, their ratings, and the rule that features them."""

import math
from dataclasses import dataclass
from datetime import datetime

from plugyard.domain.manifest import Manifest
from plugyard.domain.signatures import Signature

# The featured rule, as docs/marketplace.md tells it to publishers.
RATING_WEIGHT, INSTALLATIONS_WEIGHT, HEALTH_WEIGHT = 0.5, 0.3, 0.2
MIN_STARS, MAX_STARS = 1, 5
PRIOR_STARS, PRIOR_RATINGS = 3.0, 5
FULL_MARKS_INSTALLATIONS = 10_000
UNKNOWN_HEALTH = 80


@dataclass(frozen=True, slots=True)
class Listing:
    """A published version. ``rating_sum`` is the sum of ``rating_count`` ratings of 1 to 5 stars."""

    id: str
    tenant_id: str
    plugin_id: str
    version_id: str
    name: str
    version: str
    digest: str
    manifest: Manifest
    exports: tuple[str, ...]
    packed_bytes: int
    published_at: datetime
    withdrawn_at: datetime | None = None
    installations: int = 0
    rating_sum: int = 0
    rating_count: int = 0
    health_score: int | None = None
    signature: Signature | None = None

    @property
    def rating(self) -> float | None:
        """The mean of the ratings, to two places, or ``None`` while there are none."""
        return round(self.rating_sum / self.rating_count, 2) if self.rating_count else None

    @property
    def score(self) -> float:
        """Where the listing stands among the featured."""
        return featured_score(self.rating_sum, self.rating_count, self.installations, self.health_score)


@dataclass(frozen=True, slots=True)
class Rating:
    """One tenant's rating of a listing, with a review."""

    tenant_id: str
    listing_id: str
    stars: int
    review: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Category:
    """A category and how many listings it has."""

    name: str
    count: int


def featured_score(rating_sum: int, rating_count: int, installations: int, health_score: int | None) -> float:
    """From 0 to 1: half by rating, three tenths by installations, two tenths by health.

    Ratings are drawn towards three stars by five imagined ones, so that one friend's five stars weigh little;
    installations count by their logarithm, with full marks at 10,000; unknown health counts as 80.
    """
    stars = (rating_sum + PRIOR_STARS * PRIOR_RATINGS) / (rating_count + PRIOR_RATINGS)
    popularity = min(1.0, math.log1p(installations) / math.log1p(FULL_MARKS_INSTALLATIONS))
    health = (UNKNOWN_HEALTH if health_score is None else health_score) / 100
    return RATING_WEIGHT * (stars - 1) / 4 + INSTALLATIONS_WEIGHT * popularity + HEALTH_WEIGHT * health
