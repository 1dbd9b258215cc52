"""Looks into the core modules of a WebAssembly component: their memories, their start functions, their data.

Source: the core specification's binary format (sections 5, 8 and 11) and the component model's Binary.md (sections 1
and 4). Linear in the size of the file; nesting is bounded.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from plugyard.gate.component import Malformed, Reader

PAGE_BYTES = 65_536
_MODULE, _NESTED = 1, 4
_MEMORY, _START, _DATA = 5, 8, 11
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class CoreModule:
    """What is told of one core module. ``pages`` is the least memory that it declares, of 64 KiB each."""

    pages: int = 0
    starts: bool = False
    data: bytes = b""


def core_modules(component: bytes) -> tuple[CoreModule, ...]:
    """The core modules of a component, the nested ones too; as many as could be read before a fault."""
    found: list[CoreModule] = []
    # The outline's check names what is malformed outside; what is malformed inside, the compiler refuses.
    with contextlib.suppress(Malformed):
        for one in _modules(Reader(component, 8, len(component)), component, 0):
            found.append(one)
    return tuple(found)


def _modules(reader: Reader, component: bytes, depth: int) -> Iterator[CoreModule]:
    while not reader.done:
        kind = reader.byte()
        size = reader.number()
        start = reader.at
        reader.part(size)
        if kind == _MODULE:
            yield _module(Reader(component, start + 8, start + size), component)
        elif kind == _NESTED and depth < _DEEPEST:
            yield from _modules(Reader(component, start + 8, start + size), component, depth + 1)


def _module(reader: Reader, component: bytes) -> CoreModule:
    pages, starts, data = 0, False, b""
    while not reader.done:
        kind = reader.byte()
        size = reader.number()
        start = reader.at
        section = reader.part(size)
        if kind == _MEMORY:
            for _ in range(section.number()):
                flags = section.byte()
                pages += section.number()
                if flags & 1:
                    section.number()
        elif kind == _START:
            starts = True
        elif kind == _DATA:
            data += component[start : start + size]
    return CoreModule(pages, starts, data)
