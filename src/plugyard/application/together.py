"""Work that many ask for at once is done once, and all of them have what comes of it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Together(Generic[K, T]):
    """Work by name, one at a time for each. What is made is kept nowhere: who comes after its end has it done anew."""

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Task[T]] = {}

    async def share(self, name: K, make: Callable[[], Awaitable[T]]) -> T:
        """What ``make`` brings, begun now or by somebody before; its error goes to all who wait."""
        task = self._under_way.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(_of(make))
            self._under_way[name] = task
            task.add_done_callback(partial(self._ended, name))
        # Whoever gives up, even the first, must not take it from the others.
        return await asyncio.shield(task)

    def forget(self, of: Callable[[K], bool]) -> None:
        """Let those names be begun anew by who asks next; who waits already gets what was begun."""
        for name in [name for name in self._under_way if of(name)]:
            del self._under_way[name]

    def stands(self, name: K) -> bool:
        """Asked from within the work: whether it was not forgotten since it began."""
        return self._under_way.get(name) is asyncio.current_task()

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, name: K, task: asyncio.Task[T]) -> None:
        if self._under_way.get(name) is task:
            del self._under_way[name]
        if not task.cancelled():
            task.exception()  # Everybody may have given up; then nobody else looks at it.


async def _of(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
