"""The rules that the database knows too: it judges, scores and sorts as the domain does."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugyard.domain.analytics import bucket_of
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.health import Health, HealthStatus, judge
from plugyard.domain.imitation import skeleton
from plugyard.domain.marketplace import featured_score
from plugyard.domain.versions import Version
from plugyard.infrastructure.postgres.precedence import precedence_key
from tests.contract.given import NOW, a_log_line, a_stored_listing, a_stored_plugin, a_tenant, an_execution
from tests.integration.conftest import Database

COUNTS = st.dictionaries(st.sampled_from(ExecutionStatus), st.integers(0, 10_000))
IDENTIFIER = st.one_of(
    st.integers(0, 10**20).map(str), st.from_regex(r"[0-9]*[a-zA-Z-][0-9a-zA-Z-]*", fullmatch=True).map(lambda s: s[:9])
)
VERSIONS = st.builds(
    lambda core, parts: ".".join(map(str, core)) + ("-" + ".".join(parts) if parts else ""),
    st.tuples(*[st.integers(0, 10**14)] * 3),
    st.lists(IDENTIFIER, max_size=4),
).filter(lambda text: _parses(text))


def _parses(text: str) -> bool:
    try:
        Version.parse(text)
    except ValueError:
        return False
    return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(outcomes=st.lists(COUNTS, min_size=1, max_size=50))
def test_the_database_judges_health_as_the_domain_does(
    database: Database, outcomes: list[dict[ExecutionStatus, int]]
) -> None:
    documents = [json.dumps({status.value: count for status, count in one.items()}) for one in outcomes]
    with database.as_owner() as owner:
        rows = owner.execute(
            "select plugin_health_score(d::jsonb) from unnest(%s::text[]) with ordinality as x (d, n) order by n",
            [documents],
        ).fetchall()
    now = datetime.now(UTC)
    assert [score for (score,) in rows] == [judge(one, now).score for one in outcomes]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    ratings=st.lists(st.integers(1, 5), max_size=200),
    installations=st.integers(0, 10**7),
    health=st.one_of(st.none(), st.integers(0, 100)),
)
def test_the_database_scores_listings_as_the_domain_does(
    database: Database, ratings: list[int], installations: int, health: int | None
) -> None:
    with database.as_owner() as owner:
        row = owner.execute(
            "select featured_score(%s, %s, %s, %s)", [sum(ratings), len(ratings), installations, health]
        ).fetchone()
    assert row is not None
    assert row[0] == pytest.approx(featured_score(sum(ratings), len(ratings), installations, health), abs=1e-12)


@given(VERSIONS, VERSIONS)
def test_the_sort_key_of_versions_orders_them_as_semver_does(one: str, other: str) -> None:
    first, second = Version.parse(one), Version.parse(other)
    assert (precedence_key(first) < precedence_key(second)) == (first < second)
    assert (precedence_key(first) == precedence_key(second)) == (first == second)


async def test_a_listing_follows_the_health_of_its_publishers_plugin(database: Database) -> None:
    listing = await a_stored_listing(database.store)
    async with database.store.for_tenant(listing.tenant_id) as tx:
        view = await tx.plugin(listing.plugin_id)
        assert view is not None
        await tx.save_plugin(view.plugin.with_health(Health(HealthStatus.UNHEALTHY, 12, NOW)))
    reader = await a_tenant(database.store)
    async with database.store.for_tenant(reader.id) as tx:
        found = await tx.listing(listing.id)
    assert found is not None
    assert found.health_score == 12


async def test_the_view_of_metrics_shows_the_tenants_own_plugins_alone(database: Database) -> None:
    mine = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    other = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    for plugin in (mine, other):
        for status in (ExecutionStatus.SUCCEEDED, ExecutionStatus.SUCCEEDED, ExecutionStatus.CRASHED):
            execution = an_execution(plugin, status=status)
            await database.recorder.record(execution, [a_log_line(execution)], [], [])
    with database.as_service() as connection:
        connection.execute("select set_config('plugyard.tenant_id', %s, false)", [mine.tenant_id])
        rows = connection.execute(
            "select plugin_id::text, executions, failures, wall_ms_mean, health_score from plugin_metrics"
        ).fetchall()
    assert rows == [(mine.id, 3, 1, 3.25, 50)]


async def test_updated_at_is_set_where_a_statement_forgets_it(database: Database) -> None:
    tenant = await a_tenant(database.store)
    with database.as_owner() as owner:
        owner.execute("update tenants set name = 'By hand' where id = %s", [tenant.id])
        row = owner.execute("select updated_at > created_at from tenants where id = %s", [tenant.id]).fetchone()
    assert row == (True,)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True), min_size=1, max_size=50))
def test_the_database_reads_names_as_the_domain_does(database: Database, names: list[str]) -> None:
    telling = [*names, "modern-cl0ud", "vvww-rnm1"]
    with database.as_owner() as owner:
        statement = "select skeleton(n) from unnest(%s::text[]) with ordinality as x (n, p) order by p"
        rows = owner.execute(statement, [telling]).fetchall()
    assert [read for (read,) in rows] == [skeleton(name) for name in telling]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.floats(0, 1e9, allow_nan=False) | st.none(), min_size=1, max_size=50))
async def test_the_database_puts_durations_into_the_same_buckets(database: Database, walls: list[float | None]) -> None:
    with database.as_owner() as owner:
        rows = owner.execute(
            "select wall_bucket(wall) from unnest(%s::double precision[]) with ordinality as w (wall, n) order by n",
            [walls],
        ).fetchall()
    assert [bucket for (bucket,) in rows] == [bucket_of(wall) for wall in walls]
