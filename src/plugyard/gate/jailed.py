"""Runs the check in a jailed process, one for each package, and never lets what happens there reach the service.

``bootstrap`` makes one ``JailedInspector`` and gives it to the upload. A check that crashed, was killed, ran out of
memory or answered nonsense is a finding that refuses the package: what could not be checked is not let in.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from plugyard.application.ports import Inspection
from plugyard.domain.errors import GateUnavailable
from plugyard.domain.report import Report
from plugyard.domain.rules import RuleSettings
from plugyard.gate import answer
from plugyard.gate.findings import Findings
from plugyard.gate.limits import GateLimits
from plugyard.gate.malware import NOTHING_KNOWN, MalwareFile
from plugyard.gate.rules import RULES, effective, version_of
from plugyard.sandbox import wire
from plugyard.sandbox.outside.zygote_client import Child, Exit, Zygote, ZygoteError

_ARGV = ("-m", "plugyard.gate.inside")
_READ = 1 << 18


class JailedInspector:
    """The port ``PackageInspector`` on a zygote of its own. ``at_once`` bounds how many packages are read together.

    ``rules`` are an operator's settings of rules, as ``RuleSettings.of`` reads them. ``malware`` is the operator's
    list: it stays with the service, and the process in the jail reports digests. ``enforced=False`` is the operator's
    ``--unsafe-no-jail``: the process is the same, the jail stays open.
    """

    def __init__(
        self,
        limits: GateLimits | None = None,
        *,
        enforced: bool = True,
        at_once: int = 2,
        rules: Sequence[str] = (),
        malware: MalwareFile | None = None,
    ) -> None:
        self.limits = limits or GateLimits()
        self._settings = tuple(rules)
        self._rules = effective(RuleSettings.of(rules, RULES))
        self._enforced = enforced
        self._malware = malware
        self._zygote = Zygote(_ARGV, namespaces=enforced)
        self._places = asyncio.Semaphore(at_once)
        # Each file is read once, so the answer holds at most the bundle, escaped, what surrounds it, and the digests.
        around = (1 << 22) + self.limits.entries * (self.limits.path_bytes + 64)
        self._cap = min(wire.MAX_FRAME_BYTES, 6 * (self.limits.bundle_bytes + self.limits.manifest_bytes) + around)

    async def start(self) -> None:
        """Start the zygote; raises ``GateUnavailable``. Without it the first inspection starts one."""
        try:
            await self._zygote.start()
        except (ZygoteError, OSError) as error:
            raise GateUnavailable(f"the gate did not start: {error}") from error

    async def close(self) -> None:
        """End the zygote and every check that still runs."""
        await self._zygote.close()

    @property
    def alive(self) -> bool:
        """Whether the zygote runs, for the health report."""
        return self._zygote.alive

    @property
    def starts(self) -> int:
        """How often the zygote has started; more than once says that it died."""
        return self._zygote.starts

    @property
    def rules_version(self) -> str:
        """Names the rules as they are run now; another name after a change of rules, settings or malware list."""
        return version_of(self._rules, self._malware.stamp if self._malware is not None else "")

    async def inspect(self, path: Path, *, digest: str, size: int) -> Inspection:
        """Check the package at ``path``; raises ``GateUnavailable`` where no process or no file can be had."""
        async with self._places:
            child = await self._fork(path, digest)
            try:
                async with asyncio.timeout(self.limits.deadline_s):
                    body = await self._body(child)
            except TimeoutError:
                what = f"the check took longer than {self.limits.deadline_s:g} s"
                return self._refusal("gate.timeout", what, digest, size)
            except (wire.WireError, OSError) as error:
                return self._refusal("gate.could-not-run", f"the check answered nonsense: {error}", digest, size)
            finally:
                child.close()
            if body is None:
                return self._refusal("gate.could-not-run", await _end_of(child), digest, size)
        try:
            return await asyncio.to_thread(self._read, body, digest, size)
        except answer.UntrueAnswer as error:
            return self._refusal("gate.could-not-run", f"the check answered nonsense: {error}", digest, size)

    def _read(self, body: bytes, digest: str, size: int) -> Inspection:
        known = self._malware.current() if self._malware else NOTHING_KNOWN
        return answer.decode(body, self.limits, digest=digest, size=size, rules=self._rules, malware=known)

    async def _fork(self, path: Path, digest: str) -> Child:
        params = {
            **asdict(self.limits),
            "enforced": self._enforced,
            "digest": digest,
            "rules": "\n".join(self._settings),
            "digests": self._malware is not None,
        }
        try:
            descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                return await self._zygote.fork("inspect", params, [descriptor])
            finally:
                os.close(descriptor)
        except (ZygoteError, OSError) as error:
            raise GateUnavailable(f"the package could not be handed to a check: {error}") from error

    async def _body(self, child: Child) -> bytes | None:
        """The one frame that the process sends, or ``None`` where it ended before."""
        loop, splitter = asyncio.get_running_loop(), wire.Splitter(self._cap)
        while True:
            try:
                data = await loop.sock_recv(child.socket, _READ)
            except ConnectionResetError:
                return None
            if not data:
                return None
            for body in splitter.feed(data):
                return body

    def _refusal(self, rule: str, what: str, digest: str, size: int) -> Inspection:
        findings = Findings(1, RULES)
        findings.add(rule, "the package", what)
        return Inspection(Report(findings=findings.all(), digest=digest, packed_bytes=size))


async def _end_of(child: Child) -> str:
    """How the process ended, in words for the operator; the exit is known a moment after its socket closed."""
    how = Exit(code=-1, signal=0)
    with contextlib.suppress(TimeoutError):
        how = await asyncio.wait_for(asyncio.shield(child.exited), 2)
    if how.lost:
        return "the gate's process was lost while it checked"
    if how.signal:
        return f"the check was ended by {signal.Signals(how.signal).name}"
    return f"the check ended with code {how.code} and no answer"
