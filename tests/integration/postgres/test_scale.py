"""The store on many rows: whatever it is asked, no statement reads a large table from one end to the other."""

from __future__ import annotations

import asyncio
import shutil

from benchmarks.scale import run
from benchmarks.scaledata import small
from tests.conftest import reachable_folder


async def test_no_statement_scans_a_large_table() -> None:
    data = reachable_folder()
    try:
        result = await run(data, small(), rounds=1)
    finally:
        await asyncio.to_thread(shutil.rmtree, data)
    names = {figure.name for figure in result.figures}
    assert {"execution", "executions, all; deep", "logs, q, rare", "analytics, 90 days"} <= names
    assert len(names) > 120
    assert result.scans == []
