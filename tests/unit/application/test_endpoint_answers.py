"""What a handler's output is as a response, and what none may be."""

import json
from typing import Any

import pytest

from plugyard.application.endpointanswers import MAX_HEADERS, EndpointAnswer, answer_of
from plugyard.domain.endpoints import AnswerInvalid

JSON, TEXT = ("content-type", "application/json"), ("content-type", "text/plain; charset=utf-8")


def _answer(value: Any) -> EndpointAnswer:
    return answer_of(json.dumps(value).encode())


def _faults(value: Any) -> set[str]:
    with pytest.raises(AnswerInvalid) as refused:
        _answer(value)
    return {one.pointer for one in refused.value.errors}


@pytest.mark.parametrize(
    ("output", "status", "headers", "body"),
    [
        ({"status": 200}, 200, (), b""),
        ({"status": 201, "body": {"id": 7}}, 201, (JSON,), b'{"id":7}'),
        ({"status": 200, "body": "é"}, 200, (TEXT,), "é".encode()),
        ({"status": 200, "body": ""}, 200, (), b""),
        ({"status": 200, "json": "é"}, 200, (JSON,), '"é"'.encode()),
        ({"status": 200, "json": False}, 200, (JSON,), b"false"),
        ({"status": 200, "bodyBase64": "AP8="}, 200, (("content-type", "application/octet-stream"),), b"\x00\xff"),
        ({"status": 200, "headers": {"Content-Type": "text/csv"}, "body": "a"}, 200, (("content-type", "text/csv"),),
         b"a"),
        ({"status": 302, "headers": {"Location": "/x", "Link": ["<a>", "<b>"]}}, 302,
         (("location", "/x"), ("link", "<a>"), ("link", "<b>")), b""),
        ({"status": 304, "headers": {"ETag": '"1"'}}, 304, (("etag", '"1"'),), b""),
        ({"words": 2}, 200, (JSON,), b'{"words": 2}'),
        ({"status": "ok"}, 200, (JSON,), b'{"status": "ok"}'),
        ({"status": True}, 200, (JSON,), b'{"status": true}'),
        ([1], 200, (JSON,), b"[1]"),
        (None, 204, (), b""),
    ],
)  # fmt: skip
def test_an_output_becomes_a_response(output: Any, status: int, headers: Any, body: bytes) -> None:
    assert _answer(output) == EndpointAnswer(status, headers, body)


@pytest.mark.parametrize("status", [-1, 0, 100, 101, 199, 600, 10**9])
def test_a_status_outside_200_to_599_is_refused(status: int) -> None:
    assert _faults({"status": status}) == {"/status"}


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_that_has_no_body_may_not_bring_one(status: int) -> None:
    assert _faults({"status": status, "body": "x"}) == {"/status"}


@pytest.mark.parametrize(
    "name",
    ["Set-Cookie", "Connection", "Transfer-Encoding", "Content-Length", "Upgrade", "Content-Security-Policy", "Age",
     "Strict-Transport-Security", "X-Request-Id", "Plugyard-Execution-Id", "RateLimit-Policy", "Clear-Site-Data",
     "a b", "a:", "", "é", "a\r\nb"],
)  # fmt: skip
def test_a_header_that_is_not_a_plugins_is_refused(name: str) -> None:
    assert _faults({"status": 200, "headers": {name: "x"}}) == {f"/headers/{name}"}


@pytest.mark.parametrize(
    "value", ["a\r\nSet-Cookie: b", "a\n", "\x00", "é", " a", "a ", 7, None, {}, ["a", 7], "\x7f", "a\r"]
)
def test_a_value_that_could_become_another_header_is_refused(value: Any) -> None:
    assert _faults({"status": 200, "headers": {"x": value}}) == {"/headers/x"}


def test_every_fault_is_told_at_once() -> None:
    given = {"status": 99, "headers": [], "body": "a", "json": 1, "cookies": {}}
    assert _faults(given) == {"/status", "/headers", "/json", "/cookies"}


@pytest.mark.parametrize("given", ["A", "A===", "ü", "AP8", 7, {}])
def test_what_is_no_base64_is_refused(given: Any) -> None:
    assert _faults({"status": 200, "bodyBase64": given}) == {"/bodyBase64"}


def test_headers_have_a_number_and_a_size() -> None:
    assert _faults({"status": 200, "headers": {"x": ["a"] * (MAX_HEADERS + 1)}}) == {"/headers"}
    assert _faults({"status": 200, "headers": {"x": "a" * 17_000}}) == {"/headers"}
    assert _faults({"status": 200, "headers": {"Content-Type": ["a/b", "c/d"]}}) == {"/headers/content-type"}


def test_output_that_is_no_json_is_refused() -> None:
    with pytest.raises(AnswerInvalid):
        answer_of(b'{"a": "\\ud800"}')
