"""A worker around the use cases. ``service.py`` imports it late: requests are answered without these libraries."""

from functools import partial

from plugyard.application.completions import deliver
from plugyard.application.deliver import deliver_waiting
from plugyard.application.platform import Platform
from plugyard.application.schedules import run_due
from plugyard.application.work import work_on
from plugyard.infrastructure.queue.worker import Worker
from plugyard.settings import Settings


def worker_for(platform: Platform, service_url: str, settings: Settings) -> Worker:
    """A worker that runs queued executions in this process's sandbox."""

    def cancel(execution_id: str) -> None:
        platform.told_to_end.add(execution_id)
        platform.executor.cancel(execution_id)

    def cut(execution_id: str) -> None:
        platform.executor.cancel(execution_id)

    return Worker(
        service_url,
        partial(work_on, platform),
        cancel=cancel,
        cut=cut,
        concurrency=settings.queue_workers,
        per_plugin=settings.queue_per_plugin,
        tell=partial(deliver, platform),
        beside=(partial(run_due, platform), partial(deliver_waiting, platform)),
    )
