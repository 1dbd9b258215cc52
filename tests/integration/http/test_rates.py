"""Every answer behind a key says what is left of its limits, and one too many does nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from plugyard.domain.identity import Role
from plugyard.http.rates import RateClass, RateLimits
from plugyard.infrastructure.rates import LimitedRates
from tests.integration.http.service import KEYS, MISSING, Http, problem


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[Http]:
    """An application with small limits."""
    rates = LimitedRates()
    limits = RateLimits(
        rates,
        per_key={RateClass.READ: 3, RateClass.WRITE: 2, RateClass.EXECUTE: 2, RateClass.UPLOAD: 2},
        per_tenant={RateClass.READ: 5, RateClass.WRITE: 20, RateClass.EXECUTE: 20, RateClass.UPLOAD: 20},
        failures=4,
    )
    http = Http(tmp_path, limits=limits)
    await http.tenant()
    yield http
    await rates.close()


@pytest.fixture
async def admin(limited: Http) -> AsyncIterator[Any]:
    async with limited.client() as client:
        yield client


async def test_an_answer_says_what_is_left_whether_it_is_good_or_bad(admin: Any) -> None:
    for number, path in enumerate(("/api/v1/me", f"/api/v1/plugins/{MISSING}", "/api/v1/plugins?limit=0")):
        answer = await admin.get(path)
        assert answer.headers["ratelimit-policy"] == '"read-key";q=3;w=60, "read-tenant";q=5;w=60'
        assert answer.headers["ratelimit"].startswith(f'"read-key";r={2 - number};t=')
        assert f'"read-tenant";r={4 - number};t=' in answer.headers["ratelimit"]


async def test_one_too_many_is_refused_and_says_when_to_ask_again(limited: Http, admin: Any) -> None:
    for _ in range(3):
        await admin.get("/api/v1/me")
    answer = await admin.get("/api/v1/me")
    document = problem(answer, 429, "rate_limited")
    assert (document["policy"], document["limit"], document["windowSeconds"]) == ("read-key", 3, 60)
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit"].startswith('"read-key";r=0;t=')
    async with limited.client(Role.VIEWER) as viewer:
        assert [(await viewer.get("/api/v1/me")).status_code for _ in range(3)] == [200, 200, 429]
    assert problem(await viewer_of(limited), 429, "rate_limited")["policy"] == "read-tenant"


async def viewer_of(http: Http) -> Any:
    async with http.client(Role.DEVELOPER) as client:
        return await client.get("/api/v1/me")


async def test_each_kind_of_request_has_a_limit_of_its_own(limited: Http, admin: Any) -> None:
    plugin_id = await limited.plugin(admin)
    execute = f"/api/v1/plugins/{plugin_id}/execute"
    statuses = [(await admin.post(execute, json={"function": "greet"})).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert len(limited.world.executor.invocations) == 2
    assert (await admin.post(f"/api/v1/plugins/{plugin_id}/deactivate")).status_code == 200
    assert (await admin.post(f"/api/v1/plugins/{plugin_id}/activate")).status_code == 200
    problem(await admin.post(f"/api/v1/plugins/{plugin_id}/deactivate"), 429, "rate_limited")
    assert limited.world.store.tables.plugins[plugin_id].state.value == "active"
    assert (await admin.get("/api/v1/me")).status_code == 200


async def test_keys_cannot_be_guessed_in_bulk(limited: Http, admin: Any) -> None:
    assert (await admin.get("/api/v1/me")).status_code == 200
    async with limited.client(None) as stranger:
        wrong = [{"Authorization": f"Bearer plugyard_guess-number-{number:040}"} for number in range(6)]
        answers = [await stranger.get("/api/v1/me", headers=headers) for headers in wrong]
        assert [one.status_code for one in answers] == [401] * 4 + [429] * 2
        document = problem(answers[-1], 429, "rate_limited")
        assert document["policy"] == "failed-authentication"
        right = {"Authorization": f"Bearer {KEYS[Role.DEVELOPER]}"}
        problem(await stranger.get("/api/v1/me", headers=right), 429, "rate_limited")
    assert (await admin.get("/api/v1/me")).status_code == 200, "who was known before is let through"


async def test_requests_without_credentials_are_no_guesses(limited: Http) -> None:
    async with limited.client(None) as stranger:
        assert {(await stranger.get("/api/v1/me")).status_code for _ in range(9)} == {401}
