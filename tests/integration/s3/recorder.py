"""A proxy before S3 that writes down what is asked, and answers in its place or damages answers where a test wants."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Answer = tuple[int, dict[str, str], bytes]
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True)
class Asked:
    """One request, with its header fields in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    size: int


@dataclass
class Recorder:
    """What was asked so far. ``instead`` may answer itself; ``damage`` may change an answer's body."""

    endpoint: str = ""
    asked: list[Asked] = field(default_factory=list)
    instead: Callable[[Asked], Answer | None] = lambda asked: None
    damage: Callable[[Asked, bytes], bytes] = lambda asked, body: body

    def writes(self) -> list[Asked]:
        """The requests that store something: puts, copies and starts of uploads in parts, and no parts themselves."""
        puts = [one for one in self.asked if one.method == "PUT" and "partNumber" not in one.path]
        return puts + [one for one in self.asked if one.method == "POST" and "?uploads" in one.path]


@contextmanager
def recorder(behind: str) -> Iterator[Recorder]:
    """A proxy on a free port. The signature names it as the host, and is passed on as it is."""
    recording = Recorder()
    target = urlsplit(behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(size)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, size)
            recording.asked.append(asked)
            status, fields, content = recording.instead(asked) or self.passed_on(body)
            content = recording.damage(asked, content)
            self.send_response(status)
            for name, value in fields.items():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("content-length", fields.get("Content-Length", str(len(content))))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def passed_on(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
            fields = dict(answer.getheaders())
            connection.close()
            if self.command != "HEAD":
                fields.pop("Content-Length", None)
            return answer.status, fields, content

        def log_message(self, format: str, *args: object) -> None:
            return

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - the names that http.server calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    recording.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield recording
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
