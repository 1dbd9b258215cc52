"""Runs functions of a Python example outside of the sandbox: calls come as JSON on stdin, outcomes go to stdout.

Called by conftest.py beside it, in a process of its own, because the modules of a plugin have common names.
"""

import asyncio
import importlib
import inspect
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class RecordingLogger:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def info(self, message: str, **fields: object) -> None:
        self.lines.append({"level": "info", "message": message, "fields": fields})


async def run(call: dict[str, Any], plugin: Any) -> dict[str, Any]:
    logger = RecordingLogger()
    context = SimpleNamespace(
        tenant_id="acme",
        user_id="ada",
        execution_id="e1",
        configuration=call["configuration"],
        services=SimpleNamespace(logger=logger),
    )
    try:
        output = getattr(plugin, call["function"])(call["input"], context)
        if inspect.isawaitable(output):
            output = await output
    except Exception as error:
        return {"error": str(error), "logs": logger.lines}
    return {"output": output, "logs": logger.lines}


def main() -> None:
    entry = Path(sys.argv[1])
    sys.path[:0] = [str(entry.parent), str(entry.parent / "lib")]
    plugin = importlib.import_module(entry.stem)
    outcomes = [asyncio.run(run(call, plugin)) for call in json.load(sys.stdin)]
    json.dump(outcomes, sys.stdout, allow_nan=False)


main()
