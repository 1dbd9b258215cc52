"""Has an author's component compiled in a jailed process of its own, with limits kept from outside.

`components.py` calls it for what it has no machine code of. A compiler is a large program that meets hostile input:
its process can do no more than compute, ends after one answer, and what it answers is only ever mapped in the jailed
processes of that very plugin.
"""

import asyncio
import contextlib
import signal
from dataclasses import dataclass, replace

from plugyard.domain.errors import SandboxUnavailable
from plugyard.sandbox import wire
from plugyard.sandbox.jail import JailConfig
from plugyard.sandbox.outside.zygote_client import Child, Exit, Zygote, ZygoteError

_READ_BYTES = 1 << 18
_NICE = 15


class CannotCompile(Exception):
    """The component cannot become machine code; the message says why, for its author."""


@dataclass(frozen=True, slots=True)
class CompilerLimits:
    """What one compilation may use: wall time in seconds, memory and the size of its result in bytes."""

    timeout_s: float = 30.0
    memory_bytes: int = 768 * 1024 * 1024
    artefact_bytes: int = 48 * 1024 * 1024


class Compiler:
    """Compiles one component after another: it is the service's own time that is spent, so never two at once."""

    def __init__(self, zygote: Zygote, jail: JailConfig, limits: CompilerLimits | None = None) -> None:
        self._zygote = zygote
        self._params = replace(jail, nice=_NICE).to_params()
        self._limits = limits or CompilerLimits()
        self._one = asyncio.Semaphore(1)

    async def compile(self, component: bytes) -> bytes:
        """The machine code. Raises CannotCompile, and SandboxUnavailable where no process can be had."""
        limits = self._limits
        async with self._one:
            try:
                child = await self._zygote.fork("compile", self._params)
            except (ZygoteError, OSError) as error:
                raise SandboxUnavailable(f"No compiler could be started: {error}") from error
            try:
                async with asyncio.timeout(limits.timeout_s):
                    answer = await self._ask(child, wire.frame(wire.Compile(limits.memory_bytes, component)))
            except TimeoutError:
                raise CannotCompile(f"compiling it takes longer than {limits.timeout_s:g} s") from None
            except wire.WireError as error:
                raise CannotCompile(f"the compiler answered nonsense: {error}") from error
            finally:
                child.close()
            if answer is None:
                raise await _ended(child)
        if answer.error or not answer.artefact:
            raise CannotCompile(answer.error[:500].replace("\0", "") or "the compiler answered nothing")
        if len(answer.artefact) > limits.artefact_bytes:
            raise CannotCompile(
                f"its machine code has {len(answer.artefact)} bytes; at most {limits.artefact_bytes} are allowed"
            )
        return answer.artefact

    async def _ask(self, child: Child, request: bytes) -> wire.Compiled | None:
        """The answer, or None where the process ended before it gave one."""
        loop, splitter = asyncio.get_running_loop(), wire.Splitter(self._limits.artefact_bytes + (1 << 16))
        sending: asyncio.Task[None] | None = None
        try:
            while True:
                try:
                    data = await loop.sock_recv(child.socket, _READ_BYTES)
                except ConnectionResetError:
                    return None
                if not data:
                    return None
                for body in splitter.feed(data):
                    message = wire.decode_from_environment(body)
                    if isinstance(message, wire.Ready) and sending is None and message.protocol == wire.PROTOCOL:
                        sending = asyncio.create_task(loop.sock_sendall(child.socket, request))
                    elif isinstance(message, wire.Compiled) and sending is not None:
                        return message
                    else:
                        raise wire.WireError(f"{type(message).__name__} from a compiler")
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)


async def _ended(child: Child) -> Exception:
    """What to say of a process that gave no answer; its exit is known a moment after its socket closed."""
    how = Exit(code=-1, signal=0)
    with contextlib.suppress(TimeoutError):
        how = await asyncio.wait_for(asyncio.shield(child.exited), 2)
    if how.lost:
        return SandboxUnavailable("The compiler's process was lost while it compiled.")
    if how.signal in (signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV):
        return CannotCompile("compiling it needs more memory than is allowed, or breaks the compiler")
    return CannotCompile(f"the compiler ended without an answer (code {how.code}, signal {how.signal})")
