"""A small client of the service's API for the commands: finds the service, sends, and turns problems into sentences."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from plugyard.cli.failure import Failure
from plugyard.cli.findings import finding_lines

KEYS_FILE = "keys.json"
SERVICE_FILE = "service.json"


class Client:
    """Speaks to one service with one key. Every problem that the service answers becomes a ``Failure``."""

    def __init__(self, url: str, key: str, tenant: str | None = None) -> None:
        self.url = url
        headers = {"Authorization": f"Bearer {key}"} | ({"Plugyard-Tenant": tenant} if tenant else {})
        self._http = httpx.Client(base_url=url, headers=headers, timeout=330)

    @classmethod
    def find(
        cls, url: str | None, key: str | None, data: Path, *, whose: str = "admin", tenant: str | None = None
    ) -> "Client":
        """The service named, or else the one that runs on this data folder, with a key that it keeps there.

        ``whose`` is ``admin`` or ``operator``; an operator acts in ``tenant``, if one is named. A key that is kept here
        goes to the service of this folder and to no other.
        """
        here = None if url and key else running_url(data)
        if url and not key and url.rstrip("/") != here:
            raise Failure(f"{url} is not the service that runs on {data}, so it needs a key: --key or PLUGYARD_KEY")
        return cls(url or here or _nothing_runs(data), key or _kept_key(data, whose), tenant)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and decode the answer; options are httpx's."""
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Failure(f"{self.url} does not answer: {error}") from error
        if answer.is_error:
            raise Failure(told(answer))
        return answer.json() if answer.content else None

    def all(self, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.call("GET", path, params={"limit": 100, **options, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page["nextCursor"]
            if cursor is None:
                return

    def lines(self, path: str, **options: Any) -> Iterator[bytes]:
        """Send a GET request and give the answer line by line as it comes, without the line feeds."""
        rest = b""
        try:
            with self._http.stream("GET", path, **options) as answer:
                if answer.is_error:
                    answer.read()
                    raise Failure(told(answer))
                for piece in answer.iter_bytes():
                    *whole, rest = (rest + piece).split(b"\n")
                    yield from whole
        except httpx.HTTPError as error:
            raise Failure(f"{self.url} broke off: {error}") from error
        if rest:
            yield rest

    def pieces(self, path: str) -> Iterator[bytes]:
        """Send a GET request and give the answer's bytes as they come; one that breaks off is a ``Failure``."""
        try:
            with self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                    raise Failure(told(answer))
                yield from answer.iter_raw()
        except httpx.HTTPError as error:
            raise Failure(f"{self.url} broke off: {error}") from error

    def upload(self, package: Path, *, activate: bool, **fields: str) -> dict[str, Any]:
        """Upload a package from a file, streamed; ``fields`` are further ones of the form."""
        with package.open("rb") as file:
            files = {"package": (package.name, file, "application/octet-stream")}
            answer: dict[str, Any] = self.call(
                "POST",
                "/api/v1/plugins/upload",
                files=files,
                data={"activate": "true" if activate else "false", **fields},
            )
        return answer

    def plugin_named(self, name: str) -> dict[str, Any]:
        """The tenant's plugin of this name or id."""
        if _is_id(name):
            return dict(self.call("GET", f"/api/v1/plugins/{name}"))
        found = self.find_plugin(name)
        if found is None:
            raise Failure(f"the tenant has no plugin that is called {name!r}")
        return found

    def find_plugin(self, name: str) -> dict[str, Any] | None:
        """The tenant's plugin of this name, or None."""
        return next((plugin for plugin in self.all("/api/v1/plugins", q=name) if plugin["name"] == name), None)

    def execute(self, plugin_id: str, function: str, value: Any) -> tuple[dict[str, Any], float]:
        """Execute a function; the answer, and the milliseconds that it took as this caller saw it."""
        began = time.perf_counter()
        answer = self.call("POST", f"/api/v1/plugins/{plugin_id}/execute", json={"function": function, "input": value})
        return answer, (time.perf_counter() - began) * 1e3


def _is_id(word: str) -> bool:
    try:
        UUID(word)
    except ValueError:
        return False
    return True


def told(answer: httpx.Response) -> str:
    """A problem document (RFC 9457) as lines for a person."""
    try:
        problem = answer.json()
    except ValueError:
        return f"{answer.request.url} answered {answer.status_code}"
    lines = [f"{problem.get('title', 'Problem')} ({answer.status_code}): {problem.get('detail', '')}"]
    findings = problem.get("findings") or []
    lines += [finding_lines(finding) for finding in findings]
    if not findings:
        lines += [f"  {error.get('pointer', '')}: {error.get('message', '')}" for error in problem.get("errors") or []]
    return "\n".join(lines)


def running_url(data: Path) -> str | None:
    """Where the service on this data folder listens, if one runs and is ready."""
    try:
        url = str(json.loads((data / SERVICE_FILE).read_text())["url"])
        ready = httpx.get(f"{url}/health/ready", timeout=2).status_code == 200
    except (OSError, ValueError, KeyError, httpx.HTTPError):
        return None
    return url if ready else None


def _nothing_runs(data: Path) -> str:
    raise Failure(f"no service runs on {data}. Start one with: plugyard serve   (or name one with --url and --key)")


def _kept_key(data: Path, whose: str) -> str:
    try:
        return str(json.loads((data / KEYS_FILE).read_text())[whose])
    except (OSError, ValueError, KeyError):
        raise Failure("name an API key with --key or PLUGYARD_KEY") from None
