"""A steady mixed load that behaves as good clients do: a request that failed is tried again under the same key."""

import asyncio
import io
import json
import random
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

CODE = """
import asyncio

def add(input, context):
    return input["a"] + input["b"]

async def add_slowly(input, context):
    await asyncio.sleep(input["seconds"])
    return input["a"] + input["b"]
"""
SHARES = {"execute": 0.74, "queue": 0.10, "read": 0.15, "upload": 0.01}
CALLERS = 256  # who ask at a time; while the service is slower than the rate, the others wait for their turn
GIVES_UP_AFTER_S = 40.0
TRIES_AGAIN_AFTER_S = 0.25


def package(name: str, version: str) -> bytes:
    """A plugin that adds."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        manifest = {"metadata": {"name": name, "version": version}, "runtime": "python"}
        archive.writestr("plugin.json", json.dumps(manifest))
        archive.writestr("main.py", CODE)
    return packed.getvalue()


@dataclass
class Ledger:
    """What was acknowledged, and every answer that was not as it should be."""

    executed: dict[str, str] = field(default_factory=dict)  # request's key: execution
    queued: dict[str, str] = field(default_factory=dict)
    uploaded: dict[str, str] = field(default_factory=dict)  # version: digest
    answers: list[tuple[float, str, int, str]] = field(default_factory=list)  # when, kind, status, code
    unclear: list[str] = field(default_factory=list)  # failures that said nothing that a client could act on
    abandoned: list[str] = field(default_factory=list)  # requests that got no good answer in GIVES_UP_AFTER_S

    def failed_between(self, since: float, until: float) -> Counter[str]:
        """Failures by what they said."""
        return Counter(
            f"{code or status}" for at, _, status, code in self.answers if since <= at < until and status >= 400
        )

    def last_failure(self, since: float, until: float) -> float | None:
        """When the last failed."""
        return max((at for at, _, status, _ in self.answers if since <= at < until and status >= 400), default=None)


class Load:
    """Requests at a rate, from up to `CALLERS` callers."""

    def __init__(self, url: str, key: str, plugin_id: str, rate: float, session: aiohttp.ClientSession) -> None:
        self.url, self.rate, self.ledger = url, rate, Ledger()
        self._session, self._plugin = session, plugin_id
        self._headers = {"Authorization": f"Bearer {key}"}
        self._random = random.Random(7)
        self._number = 0
        self._running: set[asyncio.Task[None]] = set()
        self._callers = asyncio.Semaphore(CALLERS)

    async def run(self, until: asyncio.Event) -> None:
        """Send until told to stop, then wait for what is on its way."""
        following, step = time.monotonic(), 1 / self.rate
        while not until.is_set():
            (kind,) = self._random.choices(list(SHARES), list(SHARES.values()))
            task = asyncio.create_task(self._request(kind))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            following += step
            await asyncio.sleep(max(0.0, following - time.monotonic()))
        await asyncio.gather(*self._running, return_exceptions=False)

    async def _request(self, kind: str) -> None:
        key = str(uuid.uuid4())
        send = {"execute": self._execute, "queue": self._queue, "read": self._read, "upload": self._upload}[kind]
        async with self._callers:
            ends = time.monotonic() + GIVES_UP_AFTER_S
            while not await self._tried(kind, key, send):
                if time.monotonic() > ends:
                    self.ledger.abandoned.append(f"{kind} {key}")
                    return
                await asyncio.sleep(TRIES_AGAIN_AFTER_S * (0.5 + self._random.random()))

    async def _tried(self, kind: str, key: str, send: Callable[[str], Awaitable[tuple[int, Any, str]]]) -> bool:
        try:
            status, answer, media_type = await send(key)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            # The balancer is never killed, so that nobody should see a connection that breaks.
            self.ledger.answers.append((time.monotonic(), kind, 599, type(error).__name__))
            self.ledger.unclear.append(f"{kind}: {error!r}")
            return False
        code = answer.get("code", "") if isinstance(answer, dict) else ""
        self.ledger.answers.append((time.monotonic(), kind, status, code if status >= 400 else ""))
        if status < 400:
            return True
        if media_type != "application/problem+json" or not code:
            self.ledger.unclear.append(f"{kind}: {status} {media_type} {str(answer)[:200]}")
        return False

    async def _execute(self, key: str) -> tuple[int, Any, str]:
        body = {"function": "add", "input": {"a": 1, "b": 2}}
        status, answer, media_type = await self._send("POST", "/execute", key, json=body)
        if status == 200:
            # One that did not succeed, because the sandbox ended under it, was acknowledged as well.
            self.ledger.executed[key] = answer["executionId"]
        return status, answer, media_type

    async def _queue(self, key: str) -> tuple[int, Any, str]:
        body = {"function": "add", "input": {"a": 1, "b": 2}, "mode": "async"}
        status, answer, media_type = await self._send("POST", "/execute", key, json=body)
        if status == 202:
            self.ledger.queued[key] = answer["executionId"]
        return status, answer, media_type

    async def _read(self, key: str) -> tuple[int, Any, str]:
        return await self._send("GET", "", key)

    async def _upload(self, key: str) -> tuple[int, Any, str]:
        self._number += 1
        version = f"1.{self._number}.0"
        form = aiohttp.FormData()
        form.add_field("package", package("uploaded", version), filename="p.zip")
        async with self._session.post(
            f"{self.url}/api/v1/plugins/upload", data=form, headers=self._headers, timeout=_TIMEOUT
        ) as answer:
            found = await answer.json(content_type=None)
            if answer.status in (200, 201):
                self.ledger.uploaded[version] = found["report"]["digest"]
            return answer.status, found, answer.content_type

    async def _send(self, method: str, path: str, key: str, **options: Any) -> tuple[int, Any, str]:
        headers = {**self._headers, "X-Request-Id": key}
        if method == "POST":
            headers["Idempotency-Key"] = key
        address = f"{self.url}/api/v1/plugins/{self._plugin}{path}"
        async with self._session.request(method, address, headers=headers, timeout=_TIMEOUT, **options) as answer:
            return answer.status, await answer.json(content_type=None), answer.content_type


_TIMEOUT = aiohttp.ClientTimeout(total=30)
