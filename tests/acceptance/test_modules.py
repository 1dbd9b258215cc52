"""Modules over HTTP, end to end: what a manifest needs, and what an operator denies to one tenant alone."""

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.test_path_of_a_package import active, package, run, upload
from tests.conftest import RunningService

READER = """
def rows(input):
    import csv
    return [row for row in csv.reader(input)]
"""


@pytest.fixture(scope="module")
def operator(service: RunningService) -> Iterator[httpx.Client]:
    with service.client(service.operator_key) as client:
        yield client


def tenant(operator: httpx.Client, slug: str) -> tuple[str, str]:
    """The id of a new tenant, and its admin's key."""
    made = operator.post("/api/v1/tenants", json={"slug": slug, "name": slug.title()})
    assert made.status_code == 201, made.text
    return made.json()["tenant"]["id"], made.json()["key"]["secret"]


def test_a_needed_module_that_is_not_offered_is_a_finding_with_what_to_use_instead(service: RunningService) -> None:
    with service.client() as client:
        data = package(READER, metadata={"name": "needs-much"}, security={"modules": ["csv", "socket", "left_pad"]})
        answer = upload(client, data)
        assert answer.status_code == 422, answer.text
        found = {one["where"]: one for one in answer.json()["findings"]}
        assert {one["rule"] for one in found.values()} == {"code.module-refused"}
        assert "context.services.http" in found["plugin.json#/security/modules/1"]["what"]
        assert "under lib/" in found["plugin.json#/security/modules/2"]["what"]


def test_a_module_that_the_manifest_does_not_name_is_refused_where_it_is_imported(service: RunningService) -> None:
    with service.client() as client:
        plugin = active(client, "needs-little", READER, security={"modules": ["json"]})
        assert client.get(f"/api/v1/plugins/{plugin}").json()["modules"] == ["json"]
        error = run(client, plugin, "rows", ["a,b"])["error"]
        assert error["code"] == "module_refused"
        assert "add 'csv' there" in error["message"]
        eager = upload(client, package("import csv\n" + READER, metadata={"name": "eager"}, security={"modules": []}))
        assert [one["rule"] for one in eager.json()["findings"]] == ["code.module-refused"]


def test_what_a_tenant_is_denied_counts_where_it_executes_whoever_published_the_plugin(
    service: RunningService, operator: httpx.Client
) -> None:
    _, publishers_key = tenant(operator, "publishes")
    denied_id, denied_key = tenant(operator, "is-denied")
    with service.client(publishers_key) as publisher, service.client(denied_key) as other:
        details = {"description": "Reads rows", "author": "Ada", "category": "utility"}
        plugin = active(publisher, "rows-for-all", READER, metadata=details)
        assert run(publisher, plugin, "rows", ["a,b"])["output"] == [["a", "b"]]
        listing = publisher.post(f"/api/v1/plugins/{plugin}/publish", json={}).json()
        installed = other.post(f"/api/v1/plugins/marketplace/{listing['id']}/install", json={"activate": True})
        theirs = installed.json()["id"]
        assert run(other, theirs, "rows", ["a,b"])["output"] == [["a", "b"]]

        denied = operator.patch(f"/api/v1/tenants/{denied_id}", json={"modulesDenied": ["csv"]})
        assert denied.json()["modulesDenied"] == ["csv"]
        error = run(other, theirs, "rows", ["a,b"])["error"]
        assert error["code"] == "module_refused"
        assert "this tenant does not allow it" in error["message"]
        assert run(publisher, plugin, "rows", ["a,b"])["output"] == [["a", "b"]]
        answer = upload(other, package("import csv\n" + READER, metadata={"name": "own-rows"}))
        assert [one["rule"] for one in answer.json()["findings"]] == ["code.module-refused"]

        # Whoever shares this service finds the marketplace as it was.
        assert publisher.post(f"/api/v1/plugins/{plugin}/withdraw", json={}).status_code == 200
        operator.patch(f"/api/v1/tenants/{denied_id}", json={"modulesDenied": []})
        assert run(other, theirs, "rows", ["a,b"])["output"] == [["a", "b"]]
