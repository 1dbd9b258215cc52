"""An asyncio event loop whose only source of events is the platform: answers to service calls, and time.

WebAssembly has no threads and no selectors here; `host.wait` is what `select` is elsewhere. One loop serves the whole
life of an environment, so that locks and queues that a plugin keeps in its globals go on working between calls.
"""

import asyncio
import json
from collections.abc import Awaitable

from wit_world.imports import host

from plugyard_guest import failures

_waiting: dict[int, asyncio.Future] = {}


class HostLoop(asyncio.BaseEventLoop):
    """The loop, which is its own selector."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self

    def select(self, timeout: float | None) -> list:
        """Wait for the platform, at most `timeout` seconds; the loop calls this once in each turn."""
        if timeout == 0:
            return []
        if timeout is None and not _waiting:
            raise failures.Failure("never_settled", "the function waits for something that nothing will bring about")
        answer = host.wait(None if timeout is None else timeout * 1000)
        if answer is not None:
            _settle(answer)
        return []

    def _process_events(self, events: list) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class _Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> HostLoop:
        return HostLoop()


_loop: HostLoop


def install() -> None:
    """Make this the loop of `asyncio.run` and of every handler."""
    global _loop
    asyncio.set_event_loop_policy(_Policy())
    asyncio.events._set_running_loop(None)
    _loop = HostLoop()


async def call(service: str, method: str, arguments: dict) -> object:
    """One service call; others may run beside it."""
    future = asyncio.get_running_loop().create_future()
    ticket = host.start(service, method, json.dumps(arguments, allow_nan=False))
    _waiting[ticket] = future
    try:
        return await future
    finally:
        _waiting.pop(ticket, None)


def run(awaitable: Awaitable) -> object:
    """Run a handler to its end, and end what it left running."""
    try:
        return _loop.run_until_complete(_finish(awaitable))
    finally:
        left = asyncio.all_tasks(_loop)
        if left:
            for task in left:
                task.cancel()
            _loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        _waiting.clear()


def sleep(seconds: float) -> None:
    """What `time.sleep` is in the guest."""
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    import time

    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        answer = host.wait(left * 1000)
        if answer is not None:
            _settle(answer)


async def _finish(awaitable: Awaitable) -> object:
    return await awaitable


def _settle(answer: host.Answer) -> None:
    future = _waiting.get(answer.ticket)
    if future is None or future.done():
        return
    if answer.ok:
        future.set_result(json.loads(answer.value))
    else:
        future.set_exception(failures.of_service(json.loads(answer.value)))
