"""A worker in a process of its own that begins everything and ends nothing, for tests that kill it."""

import asyncio
import sys

from plugyard.domain.queue import QueuedExecution
from plugyard.infrastructure.queue.worker import Worker


async def main(url: str) -> None:
    async def work(entry: QueuedExecution) -> None:
        print(entry.id, flush=True)
        await asyncio.sleep(3600)

    worker = Worker(
        url,
        work,
        cancel=lambda one: None,
        cut=lambda one: None,
        concurrency=2,
        per_plugin=0,
        beat_s=0.3,
        silent_s=1.5,
    )
    await worker.open()
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
