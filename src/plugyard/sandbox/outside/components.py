"""Machine code of authors' components: compiled once, kept on disk under a seal, and held in memory while in use.

Used by the executor. Only machine code that this service compiled is ever handed to an environment; the seal of
`SealedFolder` is what tells it from other bytes.
"""

import asyncio
import hashlib
import importlib.metadata
import sys
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from pathlib import Path

from plugyard.application.together import Together
from plugyard.sandbox.jail.native import MACHINE
from plugyard.sandbox.outside.compiler import Compiler
from plugyard.sandbox.outside.sealed import SealedFolder

_HELD_BYTES = 128 * 1024 * 1024
_SUFFIX = ".cwasm"


class CompiledFolder(SealedFolder):
    """A folder of sealed machine code.

    The name of a file says which component it was made of, by which engine, and for which processor.
    """

    def __init__(self, folder: Path, secret: bytes, max_bytes: int = 1024 * 1024 * 1024) -> None:
        super().__init__(folder, secret, b"plugyard: machine code of components", max_bytes)
        self._maker = _maker()

    def name(self, component: bytes) -> str:
        """The name of the file that holds the machine code of this component."""
        return f"{hashlib.sha256(component).hexdigest()}-{self._maker}{_SUFFIX}"


class Components:
    """The machine code of components, by the digest of their package. Equal requests share one compilation."""

    def __init__(self, compiler: Compiler, folder: CompiledFolder | None) -> None:
        self._compiler = compiler
        self._folder = folder
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._compilations: Together[str, bytes] = Together()

    def kept(self, digest: str) -> bytes | None:
        """The machine code, if it is in memory."""
        artefact = self._held.get(digest)
        if artefact is not None:
            self._held.move_to_end(digest)
        return artefact

    async def artefact(self, digest: str, component: bytes) -> bytes:
        """The machine code, from disk or compiled now. Raises CannotCompile and SandboxUnavailable."""
        return await self._compilations.share(digest, partial(self._make, digest, component))

    async def close(self) -> None:
        """End what is under way."""
        await self._compilations.close()

    async def _make(self, digest: str, component: bytes) -> bytes:
        folder = self._folder
        name = await asyncio.to_thread(folder.name, component) if folder else ""
        artefact = await asyncio.to_thread(folder.read, name) if folder else None
        if artefact is None:
            artefact = await self._compiler.compile(component)
            if folder:
                await asyncio.to_thread(folder.write, name, artefact)
        self._keep(digest, artefact)
        return artefact

    def _keep(self, digest: str, artefact: bytes) -> None:
        self._bytes += len(artefact) - len(self._held.pop(digest, b""))
        self._held[digest] = artefact
        while self._bytes > _HELD_BYTES and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= len(dropped)


def _maker() -> str:
    """What machine code depends on beside the component: the engine, and what this processor can do."""
    words = [importlib.metadata.version("wasmtime"), MACHINE, sys.platform]
    with suppress(OSError), open("/proc/cpuinfo") as processors:
        words += sorted({line.strip() for line in processors if line.lower().startswith(("flags", "features"))})
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
