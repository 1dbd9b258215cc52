"""Code as the checks see it: read once, file by file, into what its author calls, imports, names and writes.

``inspect`` calls ``read_sources`` before the checks run. Trees are large, so each is dropped when its facts are taken.
"""

from collections.abc import Mapping

from plugyard.gate.source import javascript, python
from plugyard.gate.source.facts import Source, is_vendored

__all__ = ["LARGEST", "Source", "read_sources"]

LARGEST = 2 << 20
"""Characters of a file that is still parsed; a larger one is named by a finding."""

_PYTHON = ("py",)
_JAVASCRIPT = ("js", "mjs", "cjs", "ts", "mts", "cts")


def read_sources(texts: Mapping[str, str]) -> Mapping[str, Source]:
    """The facts of every file of code, by path. Raises nothing but ``MemoryError``, whatever the files hold."""
    sources = {}
    for path, text in texts.items():
        extension = path.rpartition(".")[2].lower()
        if extension in _PYTHON:
            reader = python.read
        elif extension in _JAVASCRIPT:
            reader = javascript.read
        else:
            continue
        if len(text) > LARGEST:
            problem = f"has {len(text)} characters; up to {LARGEST} are read"
            language = "python" if reader is python.read else "javascript"
            sources[path] = Source(path, language, is_vendored(path), problem=problem)
        else:
            sources[path] = reader(path, text)
    return sources
