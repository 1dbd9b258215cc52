"""Compiles a component to machine code: `python -m plugyard.sandbox.inside.compile COMPONENT ARTEFACT [any]`.

A process of its own, started by `plugyard.sandbox.outside.guests`: one that compiled for itself would keep hundreds
of megabytes, and its forks would be slow.
"""

import os
import sys
from pathlib import Path

from wasmtime.component import Component

from plugyard.sandbox.inside.environment import engine


def compile_component(source: Path, target: Path, *, any_processor: bool = False) -> None:
    """Write the artefact beside its final name, make it durable, then move it into place."""
    artefact = Component(engine(any_processor=any_processor), source.read_bytes()).serialize()
    half = target.with_name(f".{target.name}.{os.getpid()}")
    with half.open("wb") as file:
        file.write(artefact)
        file.flush()
        os.fsync(file.fileno())
    half.replace(target)


if __name__ == "__main__":
    compile_component(Path(sys.argv[1]), Path(sys.argv[2]), any_processor=sys.argv[3:] == ["any"])
