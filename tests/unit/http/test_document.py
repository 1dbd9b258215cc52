"""The OpenAPI document and the written documents, held against the code that they describe."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from plugyard.domain import errors
from plugyard.domain.errors import PlugyardError
from plugyard.http import openapi
from plugyard.http.app import OPERATIONS
from plugyard.http.problems import PROBLEMS, problem_of

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT = openapi.document(OPERATIONS, "1.0.0")
LISTED = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def _all(error: type[PlugyardError]) -> set[type[PlugyardError]]:
    return {error, *(one for child in error.__subclasses__() for one in _all(child))}


def _validator(schema: Any) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


def test_every_error_of_the_service_has_its_place_in_the_table() -> None:
    assert {one.code for one in _all(errors.PlugyardError)} <= set(PROBLEMS)


def test_every_code_of_the_table_is_explained_in_the_documents() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code: status for code, (status, _) in PROBLEMS.items()}


def test_every_operation_is_named_in_the_documents() -> None:
    text = (DOCS / "api.md").read_text()
    absent = [f"{method.upper()} {path}" for method, path, _ in LISTED if f"`{method.upper()} {path}`" not in text]
    assert absent == []


def test_the_documents_name_no_operation_that_is_not_there() -> None:
    named = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /api/[^`]*)`", (DOCS / "api.md").read_text()))
    assert named - {f"{method.upper()} {path}" for method, path, _ in LISTED} == set()


@pytest.mark.parametrize(("method", "path", "operation"), LISTED, ids=lambda value: str(value)[:40])
def test_every_operation_is_described_with_examples_that_fit(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    contents = [content for answer in operation["responses"].values() for content in answer["content"].values()]
    if "requestBody" in operation:
        contents += operation["requestBody"]["content"].values()
    for content in contents:
        examples = [one["value"] for one in content.get("examples", {}).values()]
        for example in [*examples, *([content["example"]] if "example" in content else [])]:
            assert [str(error) for error in _validator(content["schema"]).iter_errors(example)] == []
    for parameter in operation.get("parameters", []):
        assert parameter["description"]


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in LISTED]
    assert len(ids) == len(set(ids))


def test_every_reference_of_the_document_leads_somewhere() -> None:
    for reference in re.findall(r"'#/components/schemas/(\w+)'", str(DOCUMENT)):
        assert reference in DOCUMENT["components"]["schemas"]


def test_an_error_without_a_place_in_the_table_says_nothing_of_its_inside() -> None:
    found = problem_of(KeyError("swordfish"), instance="/", request_id="request-1")
    assert (found.status, found.code) == (500, "internal_error")
    assert b"swordfish" not in found.body
