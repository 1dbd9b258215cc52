"""Uploads as a stream: caps, strict fields, and nothing left behind whatever happens."""

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from plugyard.http import bodies, uploads
from tests.integration.http.service import MAX_UPLOAD, Http, pointers, problem

URL = "/api/v1/plugins/upload"
HEADERS = {"content-type": "multipart/form-data; boundary=b"}


def part(name: str, value: bytes, *, more: str = "") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name.encode(), more.encode(), value)


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


async def dripped(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.fixture(autouse=True)
def nothing_is_left(http: Http) -> Any:
    yield
    assert list(http.uploads.iterdir()) == []


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_package_arrives_whole_however_it_is_cut(http: Http, admin: Any, size: int) -> None:
    package = http.package()
    checksum = f"sha256:{hashlib.sha256(package).hexdigest()}".encode()
    content = dripped(form(part("checksum", checksum), part("package", package), part("activate", b"true")), size)
    answer = await admin.post(URL, content=content, headers=HEADERS)
    assert answer.status_code == 201, answer.text
    assert answer.json()["plugin"]["status"] == "active"
    assert answer.json()["report"]["digest"].encode() == checksum


@pytest.mark.parametrize(
    ("content", "status", "code", "where"),
    [
        (form(), 422, "invalid_input", "/package"),
        (b"", 400, "malformed_multipart", None),
        (b"--b\r\n", 400, "malformed_multipart", None),
        (b"nonsense", 400, "malformed_multipart", None),
        (part("package", b"data"), 400, "malformed_multipart", None),
        (b"--b\r\nContent-Disposition: nonsense\r\n\r\nx\r\n--b--\r\n", 400, "malformed_multipart", None),
        (b"--b\r\n" + b"X-Long: " + b"x" * 9000 + b"\r\n\r\nx\r\n--b--\r\n", 400, "malformed_multipart", None),
        (form(part("activate", b"true")), 422, "invalid_input", "/package"),
        (form(part("package", b"")), 422, "invalid_input", "/package"),
        (form(part("package", b"a"), part("package", b"b")), 422, "invalid_input", "/package"),
        (form(part("package", b"a"), part("nonsense", b"b")), 422, "invalid_input", "/nonsense"),
        (form(part("", b"a")), 422, "invalid_input", "/"),
        (form(part("package", b"a"), part("activate", b"yes")), 422, "invalid_input", "/activate"),
        (form(part("package", b"a"), part("activate", b"\xff")), 422, "invalid_input", "/activate"),
        (form(part("package", b"a"), part("activate", b"t" * 300)), 422, "invalid_input", "/activate"),
        (form(part("package", b"a"), part("checksum", b"md5:abc")), 422, "invalid_input", "/checksum"),
        (form(part("package", b"a"), part("checksum", b"sha256:" + b"0" * 64)), 422, "checksum_mismatch", "/checksum"),
    ],
    ids=range(17),
)
async def test_a_form_that_does_not_fit_is_refused(
    http: Http, admin: Any, content: bytes, status: int, code: str, where: str | None
) -> None:
    document = problem(await admin.post(URL, content=content, headers=HEADERS), status, code)
    assert pointers(document) == ({where} if where else set())


@pytest.mark.parametrize(
    ("media", "status", "code"),
    [
        ("", 415, "unsupported_media_type"),
        ("application/zip", 415, "unsupported_media_type"),
        ("multipart/form-data", 400, "malformed_multipart"),
        ("multipart/form-data; boundary=" + "x" * 300, 400, "malformed_multipart"),
        ("multipart/mixed; boundary=b", 415, "unsupported_media_type"),
    ],
)
async def test_another_media_type_is_refused_before_anything_is_written(
    http: Http, admin: Any, media: str, status: int, code: str
) -> None:
    headers = {"content-type": media} if media else {}
    problem(await admin.post(URL, content=form(part("package", b"a")), headers=headers), status, code)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_package_over_the_cap_answers_413(http: Http, admin: Any, announced: bool) -> None:
    data = form(part("package", b"x" * (MAX_UPLOAD + 1)))
    content: Any = data if announced else dripped(data, 65_536)
    problem(await admin.post(URL, content=content, headers=HEADERS), 413, "too_large")


async def test_a_flood_outside_of_the_package_answers_413(http: Http, admin: Any) -> None:
    data = b"\r\n" * MAX_UPLOAD
    document = await admin.post(URL, content=dripped(data, 65_536), headers=HEADERS)
    assert document.status_code in (400, 413), document.text


async def test_a_full_disk_answers_507(http: Http, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads, "_write", full)
    problem(await admin.post(URL, content=form(part("package", b"a")), headers=HEADERS), 507, "storage_full")


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(http: Http) -> None:
    messages = iter(
        [
            {"type": "http.request", "body": part("package", b"a" * 100)[:80], "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with http.client() as client:
        headers = {**client.headers, **HEADERS}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": URL,
        "raw_path": URL.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items() if name != "content-length"],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    await http.app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 400


async def test_a_body_that_stops_coming_answers_408(http: Http, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(start: bytes) -> AsyncIterator[bytes]:
        yield start
        await asyncio.sleep(60)

    monkeypatch.setattr(bodies, "IDLE_S", 0.05)
    answer = await admin.post(URL, content=stuck(part("package", b"a" * 100)[:80]), headers=HEADERS)
    problem(answer, 408, "request_timeout")
    json = {"content-type": "application/json"}
    problem(await admin.post("/api/v1/keys", content=stuck(b"{"), headers=json), 408, "request_timeout")


async def test_what_a_killed_process_left_is_swept_at_the_start(http: Http) -> None:
    left = http.uploads / f"{uploads.PREFIX}left"
    left.write_bytes(b"half a package")
    uploads.sweep(http.uploads)
    assert not left.exists()
