"""Listings and ratings in answers."""

from collections.abc import Sequence
from datetime import datetime

from plugyard.domain.manifest import Runtime
from plugyard.http.view import View
from plugyard.http.views.shared import AskView, FunctionView, PermissionView
from plugyard.http.views.trust import SignatureView, TrustView


class ListingView(TrustView, frozen=True):
    """A published version, as other tenants see it."""

    id: str
    name: str
    version: str
    digest: str
    runtime: Runtime
    description: str
    author: str
    category: str
    keywords: Sequence[str]
    license: str | None
    homepage: str | None
    functions: list[FunctionView]
    permissions: list[PermissionView]
    asks: list[AskView]
    packed_bytes: int
    published_at: datetime
    withdrawn_at: datetime | None
    installations: int
    rating: float | None
    ratings: int
    health_score: int | None
    score: float
    signature: SignatureView | None


class FeaturedView(View, frozen=True):
    """The featured listings, best first."""

    items: list[ListingView]


class CategoryView(View, frozen=True):
    """A category and how many listings it has."""

    name: str
    count: int


class CategoriesView(View, frozen=True):
    """Every category that has a listing, the fullest first."""

    items: list[CategoryView]


class RatingView(View, frozen=True):
    """One tenant's rating of a listing, from 1 to 5 stars; `mine` is true for the caller's own."""

    stars: int
    review: str
    mine: bool
    created_at: datetime
    updated_at: datetime
