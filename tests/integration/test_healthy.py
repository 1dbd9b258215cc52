"""`plugyard healthy`: what a container's health check asks, of a server that answers well, badly, or not at all."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from plugyard.cli.container import healthy
from plugyard.cli.failure import Failure
from plugyard.settings import Settings


class Server(HTTPServer):
    """Answers every request with `status`, and keeps the paths."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the tests' output is theirs."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_that_lives_is_healthy_on_whatever_it_listens(server: Server) -> None:
    healthy(settings=Settings(port=server.server_port))
    healthy(settings=Settings(host="0.0.0.0", port=server.server_port))
    assert server.asked == ["/health/live"] * 2


def test_one_that_answers_badly_or_not_at_all_is_not(server: Server) -> None:
    server.status = 503
    with pytest.raises(Failure, match="answers 503"):
        healthy(settings=Settings(port=server.server_port))
    with pytest.raises(Failure, match="nothing answers"):
        healthy(settings=Settings(port=1))
