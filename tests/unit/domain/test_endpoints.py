"""Which endpoint a request means."""

import pytest

from plugyard.domain.endpoints import Allowed, EndpointNotFound, Match, MethodNotTaken, PathUnreadable, find
from plugyard.domain.manifest import Endpoint


def _declared(*lines: str) -> list[Endpoint]:
    return [Endpoint(*line.split(), handler=f"h{place}") for place, line in enumerate(lines)]


ORDERS = _declared(
    "GET /orders/{orderId}",
    "GET /orders/new",
    "POST /orders/{orderId}",
    "GET /{kind}/new",
    "GET /",
    "HEAD /orders/{orderId}",
    "OPTIONS /custom",
)


def _found(method: str, path: str) -> tuple[str, dict[str, str]]:
    match = find(ORDERS, method, path)
    assert isinstance(match, Match)
    return match.endpoint.handler, dict(match.params)


@pytest.mark.parametrize(
    ("method", "path", "handler", "params"),
    [
        ("GET", "/orders/7", "h0", {"orderId": "7"}),
        ("GET", "/orders/new", "h1", {}),
        ("POST", "/orders/new", "h2", {"orderId": "new"}),
        ("GET", "/bills/new", "h3", {"kind": "bills"}),
        ("GET", "/", "h4", {}),
        ("HEAD", "/orders/7", "h5", {"orderId": "7"}),
        ("HEAD", "/orders/new", "h1", {}),
        ("HEAD", "/", "h4", {}),
        ("OPTIONS", "/custom", "h6", {}),
        ("GET", "/orders/a%2Fb%20%C3%A9", "h0", {"orderId": "a/b é"}),
        ("GET", "/%6Frders/new", "h1", {}),
    ],
)
def test_the_most_specific_endpoint_answers(method: str, path: str, handler: str, params: dict[str, str]) -> None:
    assert _found(method, path) == (handler, params)


@pytest.mark.parametrize("path", ["/orders", "/orders/", "/orders/7/lines", "/orders//", "//orders/7", "/Orders/7"])
def test_a_path_that_nothing_fits_is_not_found(path: str) -> None:
    with pytest.raises(EndpointNotFound, match="GET /orders/new"):
        find(ORDERS, "GET", path)


def test_a_plugin_without_endpoints_says_so() -> None:
    with pytest.raises(EndpointNotFound, match="It has: none"):
        find((), "GET", "/")


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/orders/7", "GET, HEAD, OPTIONS, POST"), ("/", "GET, HEAD, OPTIONS"), ("/custom", "OPTIONS")],
)
def test_another_method_is_told_what_is_taken(path: str, allow: str) -> None:
    with pytest.raises(MethodNotTaken) as refused:
        find(ORDERS, "DELETE", path)
    assert refused.value.allow == allow


def test_options_is_answered_for_the_plugin() -> None:
    assert find(ORDERS, "OPTIONS", "/orders/new") == Allowed("GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("path", ["/orders/%", "/orders/%2", "/orders/%zz", "/orders/%ff", "/orders/%C3"])
def test_a_path_that_is_badly_encoded_is_refused(path: str) -> None:
    with pytest.raises(PathUnreadable):
        find(ORDERS, "GET", path)
