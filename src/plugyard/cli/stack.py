"""``plugyard stack``: the whole production stack on this machine, to look at."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from plugyard.cli.failure import Failure
from plugyard.settings import Count, Port

if TYPE_CHECKING:
    from plugyard.bootstrap.stack.running import Stack


def register(app: App) -> None:
    """Add the command to the command line."""
    app.command(stack)


def stack(
    folder: Path = Path("plugyard-stack"),
    /,
    *,
    replicas: Annotated[Count, Parameter(help="How many replicas serve behind nginx.")] = 2,
    workers: Annotated[Count, Parameter(help="How many workers take what waits in the queue.")] = 2,
    port: Annotated[Port, Parameter(help="Port of nginx; 0 takes a free one.")] = 8080,
    once: Annotated[bool, Parameter(negative="", help="End as soon as everything is up.")] = False,
) -> None:
    """Start PostgreSQL, Valkey, SeaweedFS, a broker that speaks Kafka's protocol, nginx, two replicas and two workers.

    Everything listens on loopback and keeps its data in the folder. What ends by itself is started again, so kill
    whatever you like and see what happens. Ctrl-C ends it all. It needs the extra `stack`, as in
    uv run --extra stack plugyard stack

    For example:

    ```
    plugyard stack
    plugyard stack ./stack --replicas 3 --port 9000
    ```
    """
    from plugyard.bootstrap.keys import CannotStart
    from plugyard.bootstrap.stack.parts import CannotRun
    from plugyard.bootstrap.stack.running import Shape, Stack

    running = Stack(folder.absolute(), Shape(replicas, workers, port=port))
    try:
        asyncio.run(_run(running, once=once))
    except (CannotRun, CannotStart, OSError) as error:
        raise Failure(str(error)) from error


async def _run(running: "Stack", *, once: bool) -> None:
    began = time.monotonic()
    await running.start(lambda part: print(f"starting {part}", file=sys.stderr))
    try:
        width = max(map(len, running.parts))
        print(f"\nThe stack is up after {time.monotonic() - began:.0f} s.\n")
        for part in running.parts.values():
            print(f"  {part.name:{width}}  pid {part.pid:<8} {part.at}")
        plan = running.plan
        print(f"\n  Admin key     {plan.admin_key}\n  Operator key  {plan.operator_key}")
        print(f"\nNext, in another terminal:\n\n  plugyard new hello\n  export PLUGYARD_KEY={plan.admin_key}")
        print(f"  plugyard upload hello --activate --url {running.url} --key $PLUGYARD_KEY\n")
        print(
            f"Kill a part by its pid and watch it come back; the logs are in {running.folder}. Ctrl-C ends everything."
        )
        if once:
            return
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
    finally:
        await running.stop()
