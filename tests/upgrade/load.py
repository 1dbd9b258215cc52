"""Callers that try nothing again: a request that fails has failed. What was acknowledged is kept for the audit."""

import asyncio
import io
import json
import random
import time
import uuid
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

ADDS = """
import asyncio

def add(input, context):
    return input["a"] + input["b"]

async def add_slowly(input, context):
    await asyncio.sleep(input["seconds"])
    return input["a"] + input["b"]
"""
TELLS = """
async def tell(input, context):
    await context.services.events.publish("number.told", {"n": input["n"]})
    return input["n"]
"""
HEARS = """
def on_event(input, context):
    return input["payload"]["n"]
"""
SHARES = {
    "execute": 0.35,
    "execute with a key": 0.18,
    "execute for 5 s": 0.02,
    "repeat a key": 0.12,
    "queue": 0.12,
    "queue for 8 s": 0.01,
    "publish": 0.08,
    "look up": 0.10,
    "upload": 0.02,
}
SLOWLY_S = 5.0  # half of what a replica that ends waits for
QUEUED_SLOWLY_S = 8.0  # longer than a worker that ends waits, so it is put back
_TIMEOUT = aiohttp.ClientTimeout(total=60)


def package(name: str, code: str, version: str = "1.0.0", **manifest: Any) -> bytes:
    """A plugin of one file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        document = {"metadata": {"name": name, "version": version}, "runtime": "python", **manifest}
        archive.writestr("plugin.json", json.dumps(document))
        archive.writestr("main.py", code)
    return packed.getvalue()


@dataclass(frozen=True)
class Answer:
    """A request that was answered; ``code`` says how it failed and is empty where it did not."""

    at: float
    took_s: float
    kind: str
    code: str


@dataclass(frozen=True)
class Call:
    """What was acknowledged under a key. ``by`` says which code served then: old, new, or both."""

    key: str
    body: dict[str, Any]
    execution: str
    by: str


@dataclass
class Ledger:
    """What was acknowledged, by the id of its request, and every answer."""

    executed: dict[str, str] = field(default_factory=dict)
    queued: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)  # of those that were executed: which published an event
    uploaded: dict[str, str] = field(default_factory=dict)  # version: digest
    second: dict[str, str] = field(default_factory=dict)  # request: another that was sent beside it under its key
    repeated: set[str] = field(default_factory=set)  # requests under a key that had its answer; they execute nothing
    keys: list[Call] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    crossed: Counter[str] = field(default_factory=Counter)  # what one code read of what the other wrote, by both
    failures: list[str] = field(default_factory=list)

    def between(self, since: float, until: float) -> tuple[int, Counter[str], float, str]:
        """How many were answered, the failures by what they said, and how long the longest took, with its kind."""
        those = [one for one in self.answers if since <= one.at < until]
        failed = Counter(one.code for one in those if one.code)
        longest_s, kind = max(((one.took_s, one.kind) for one in those), default=(0.0, ""))
        return len(those), failed, longest_s, kind


class Failed(Exception):
    """An answer that is not as it should be; ``code`` is what it said."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Load:
    """Requests at a rate. ``serving`` is which code answers at the moment: old, new, or both."""

    def __init__(self, url: str, key: str, rate: float, session: aiohttp.ClientSession) -> None:
        self.url, self.rate, self.ledger, self.serving = url, rate, Ledger(), "old"
        self._session = session
        self._headers = {"Authorization": f"Bearer {key}"}
        self._plugins: dict[str, str] = {}
        self._random = random.Random(7)
        self._number = 0
        self._running: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """Upload the three plugins that are called."""
        telling = {"security": {"permissions": [{"service": "events", "topics": ["number.*"]}]}}
        for name, code, manifest in (
            ("adds", ADDS, {}),
            ("tells", TELLS, telling),
            ("hears", HEARS, {"events": {"subscribes": ["number.told"]}}),
        ):
            form = aiohttp.FormData({"activate": "true"})
            form.add_field("package", package(name, code, **manifest), filename="p.zip")
            made = await self._sent("POST", "/plugins/upload", str(uuid.uuid4()), 201, data=form)
            self._plugins[name] = made["plugin"]["id"]

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
        await asyncio.gather(*self._running)

    async def _request(self, kind: str) -> None:
        request, began, code = str(uuid.uuid4()), time.monotonic(), ""
        try:
            await self._kinds[kind](self, request)
        except Failed as error:
            code = error.code
            self.ledger.failures.append(f"{kind} {request}: {error}")
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            code = type(error).__name__
            self.ledger.failures.append(f"{kind} {request}: {error!r}")
        now = time.monotonic()
        self.ledger.answers.append(Answer(now, now - began, kind, code))

    async def _execute(self, request: str) -> None:
        await self._executed(request, "adds", {"function": "add", "input": {"a": 1, "b": 2}}, 3, keyed=False)

    async def _execute_with_a_key(self, request: str) -> None:
        a = self._random.randrange(1_000)
        await self._executed(request, "adds", {"function": "add", "input": {"a": a, "b": 2}}, a + 2)

    async def _execute_slowly(self, request: str) -> None:
        """Twice under one key, the second soon after the first: one is carried out, and both get its answer."""
        again = str(uuid.uuid4())
        self.ledger.second[request] = again
        first, second = await asyncio.gather(self._in_the_end(request, request), self._in_the_end(again, request, 0.4))
        self.ledger.executed[request] = first["executionId"]
        for answer in (first, second):
            if answer["status"] != "succeeded":
                raise Failed(str(answer["status"]), json.dumps(answer))
        if first["executionId"] != second["executionId"]:
            raise Failed("executed_again", f"{request} is {first['executionId']} and {second['executionId']}")

    async def _in_the_end(self, request: str, key: str, after_s: float = 0.0) -> Any:
        """The answer under a key; while another request under it is under way, this asks again, as it is told to."""
        body = {"function": "add_slowly", "input": {"a": 1, "b": 2, "seconds": SLOWLY_S}}
        await asyncio.sleep(after_s)
        for _ in range(100):
            try:
                return await self._call(request, "adds", body, 200, key)
            except Failed as error:
                if error.code != "idempotency_in_progress":
                    raise
            await asyncio.sleep(0.4)
        raise Failed("never_answered", f"the key {key} is in progress for ever")

    async def _publish(self, request: str) -> None:
        await self._executed(request, "tells", {"function": "tell", "input": {"n": 7}}, 7)
        self.ledger.told[request] = self.ledger.executed[request]

    async def _executed(
        self, request: str, plugin: str, body: dict[str, Any], output: int, *, keyed: bool = True
    ) -> None:
        answer = await self._call(request, plugin, body, 200, request if keyed else None)
        self.ledger.executed[request] = answer["executionId"]
        if answer["status"] != "succeeded" or answer["output"] != output:
            # It is answered 200, and whoever called has nothing of it.
            raise Failed(str(answer["status"]), json.dumps(answer))
        if keyed and plugin == "adds":
            self.ledger.keys.append(Call(request, body, answer["executionId"], self.serving))

    async def _queue(self, request: str) -> None:
        await self._queued(request, {"function": "add", "input": {"a": 1, "b": 2}})

    async def _queue_slowly(self, request: str) -> None:
        await self._queued(request, {"function": "add_slowly", "input": {"a": 1, "b": 2, "seconds": QUEUED_SLOWLY_S}})

    async def _queued(self, request: str, body: dict[str, Any]) -> None:
        body = {**body, "mode": "async"}
        answer = await self._call(request, "adds", body, 202, request)
        self.ledger.queued[request] = answer["executionId"]
        self.ledger.keys.append(Call(request, body, answer["executionId"], self.serving))

    async def _repeat_a_key(self, request: str) -> None:
        """The same again, under the same key: it is answered as it was, and nothing is executed."""
        call = self._one_of_before()
        if call is None:
            await self._execute_with_a_key(request)
            return
        served = self.serving
        self.ledger.repeated.add(request)
        answer = await self._call(request, "adds", call.body, 202 if "mode" in call.body else 200, call.key)
        if answer["executionId"] != call.execution:
            raise Failed("executed_again", f"{call.key} was {call.execution} and is {answer['executionId']}")
        self._note("repeated", call, served)

    async def _look_up(self, request: str) -> None:
        call = self._one_of_before()
        if call is None:
            await self._execute(request)
            return
        served = self.serving
        found = await self._sent("GET", f"/executions/{call.execution}", request, 200)
        if found["executionId"] != call.execution or ("mode" not in call.body and found["status"] != "succeeded"):
            raise Failed("other_than_it_was", json.dumps(found))
        self._note("looked up", call, served)

    def _one_of_before(self) -> Call | None:
        """Any that is on record, and more often one that the other code wrote, where there is such a one."""
        other = {"old": "new", "new": "old"}.get(self.serving)
        keys = self.ledger.keys
        for _ in range(20):
            call = self._random.choice(keys) if keys else None
            if call is None or call.by == other:
                return call
        return call

    def _note(self, what: str, call: Call, served: str) -> None:
        if served == self.serving and {served, call.by} == {"old", "new"}:
            self.ledger.crossed[f"{what} by {served} code, written by {call.by}"] += 1

    async def _upload(self, request: str) -> None:
        self._number += 1
        version = f"1.{self._number}.0"
        form = aiohttp.FormData()
        form.add_field("package", package("uploaded", ADDS, version), filename="p.zip")
        found = await self._sent("POST", "/plugins/upload", request, 201, data=form)
        self.ledger.uploaded[version] = found["report"]["digest"]

    async def _call(self, request: str, plugin: str, body: dict[str, Any], good: int, key: str | None) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        path = f"/plugins/{self._plugins[plugin]}/execute"
        return await self._sent("POST", path, request, good, headers=headers, json=body)

    async def _sent(self, method: str, path: str, request: str, good: int, **options: Any) -> Any:
        headers = {**self._headers, "X-Request-Id": request, **options.pop("headers", {})}
        address = f"{self.url}/api/v1{path}"
        async with self._session.request(method, address, headers=headers, timeout=_TIMEOUT, **options) as answer:
            text = await answer.text()
            if answer.status == good:
                return json.loads(text)
            code = json.loads(text).get("code") if answer.content_type == "application/problem+json" else None
            raise Failed(code or str(answer.status), f"{answer.status} {text[:300]}")

    _kinds = {  # noqa: RUF012 - a table of the class's own methods
        "execute": _execute,
        "execute with a key": _execute_with_a_key,
        "execute for 5 s": _execute_slowly,
        "repeat a key": _repeat_a_key,
        "queue": _queue,
        "queue for 8 s": _queue_slowly,
        "publish": _publish,
        "look up": _look_up,
        "upload": _upload,
    }
