"""The sandbox as the application sees it: the port `Executor` on a pool of jailed environments.

`bootstrap` makes one `Sandbox`; `application/execute.py` and `application/verify.py` use it. Whatever a plugin
does comes back as an `Outcome`; only a sandbox that is full or away raises.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from plugyard.application.ports import Invocation, LoadProbe, Outcome, Rehearsal, Rehearsed
from plugyard.application.tracing import current, span
from plugyard.domain.execution import ExecutionFailure, ExecutionStatus, Usage
from plugyard.domain.limits import DEFAULT_STACK_KB, KILOBYTE, MEGABYTE, EffectiveLimits, LimitPolicy
from plugyard.domain.manifest import Runtime
from plugyard.domain.modules import ModuleRules
from plugyard.sandbox import wire
from plugyard.sandbox.jail import JailConfig
from plugyard.sandbox.outside.broker import STACK_EXCEEDED, Allowance, End, Ended, Environment, GuestError, read_error
from plugyard.sandbox.outside.calls import Calls, Holder
from plugyard.sandbox.outside.compiler import CannotCompile, Compiler, CompilerLimits
from plugyard.sandbox.outside.components import CompiledFolder, Components
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import Key, Pool, PoolSettings
from plugyard.sandbox.outside.preparation import Fetch, Preparation, PreparedFolder
from plugyard.sandbox.outside.rehearsal import Stage
from plugyard.sandbox.outside.zygote_client import Zygote
from plugyard.sandbox.services.registry import Services

_PROBE_LIMITS = replace(LimitPolicy().effective(), memory_bytes=256 * MEGABYTE)
_RENEWED_WITHIN_S = 10.0
_FRAME_ROOM = 64 * 1024
# Near its limit a guest may die of a failed allocation without a word; from this share on that is what it died of.
_FULL_SHARE = 0.75


Verdict = tuple[ExecutionStatus, ExecutionFailure | None, bytes | None]


@dataclass(slots=True)
class _Running:
    """An execution that can be cancelled: in the queue it is a task, later an environment."""

    task: asyncio.Task[object] | None
    environment: Environment | None = None
    cancelled: bool = False


class Sandbox:
    """The port `Executor`. `start` before use, `close` at the end; `enforced=False` is `--unsafe-no-jail`.

    `compiled` keeps the machine code of authors' components beyond the end of this process, and `prepared` what is
    made of packages' text once; without them both are made again.
    """

    def __init__(
        self,
        guests: Guests,
        settings: PoolSettings | None = None,
        *,
        services: Services | None = None,
        enforced: bool = True,
        compiled: CompiledFolder | None = None,
        compiling: CompilerLimits | None = None,
        prepared: PreparedFolder | None = None,
        modules_denied: Sequence[str] = (),
        stack_bytes: int = DEFAULT_STACK_KB * KILOBYTE,
    ) -> None:
        artefacts = [f"{runtime}={path}" for runtime, path in guests.artefacts.items()]
        argv = ["-m", "plugyard.sandbox.inside", f"stack={stack_bytes}", *artefacts]
        self._zygote = Zygote(argv, namespaces=enforced)
        self._runtimes = (*guests.artefacts, Runtime.WASM.value)
        jail = JailConfig(enforced=enforced)
        self._pool = Pool(self._zygote, self._runtimes, settings or PoolSettings(), jail)
        self._preparation = Preparation(self._pool, prepared)
        self._modules_denied = tuple(modules_denied)
        self._components = Components(Compiler(self._zygote, jail, compiling), compiled)
        self._services = services or Services()
        self._running: dict[str, _Running] = {}
        self._probes = asyncio.Semaphore(2)
        self._stack_bytes = stack_bytes
        self._stage = Stage(self._pool, self._execute_in, stack_bytes)
        self._renewing: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> bool:
        """Whether the zygote runs; one that died starts again with the next environment."""
        return self._zygote.alive

    @property
    def starts(self) -> int:
        """How often the zygote has started; more than once says that it died."""
        return self._zygote.starts

    def environments(self) -> Mapping[str, int]:
        """How many environments there are, by what they do, and how many executions wait."""
        return self._pool.environments()

    async def start(self) -> None:
        """Start the zygote and the spares. Raises SandboxUnavailable."""
        await self._preparation.start()
        await self._pool.start()

    async def close(self) -> None:
        """End every environment and the zygote; returns when no process is left."""
        await self._preparation.close()
        await self._components.close()
        for task in list(self._renewing):
            task.cancel()
        await asyncio.gather(*self._renewing, return_exceptions=True)
        await self._pool.close()
        await self._zygote.close()

    async def execute(self, invocation: Invocation) -> Outcome:
        """Run one function. Raises Overloaded and SandboxUnavailable."""
        if invocation.runtime.value not in self._runtimes:
            return _failed("runtime_unavailable", f"this server does not run {invocation.runtime.value} plugins yet")
        running = _Running(asyncio.current_task())
        self._running[invocation.execution_id] = running
        try:
            limits = invocation.limits
            renewable = invocation.fresh and invocation.runtime is not Runtime.WASM
            digest = f"{invocation.digest}:renewed" if renewable else invocation.digest
            stack_bytes = 0 if limits.stack_bytes == self._stack_bytes else limits.stack_bytes
            if stack_bytes:
                digest = f"{digest}:{stack_bytes}"
            if invocation.modules.denied:
                # What was loaded under another policy of the tenant is not used again.
                digest = f"{digest}:{' '.join(invocation.modules.denied)}"
            key: Key = (invocation.tenant_id, invocation.plugin_id, digest, limits.memory_bytes)
            # Before an environment is taken, because preparing needs one too: nobody waits for one holding another.
            bundle = await self._bundle(invocation)
            thrown_away = invocation.fresh and not renewable
            with span("wait") as traced:
                environment, start = await self._pool.acquire(key, invocation.runtime.value, thrown_away, stack_bytes)
                traced.set("plugyard.start", start)
            running.environment = environment
            return await self._execute_in(environment, start, invocation, bundle)
        except CannotCompile as reason:
            return _failed("load_failed", str(reason))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # `cancel` ended the wait in the queue; any other cancellation is the caller's own.
            if running.cancelled and task is not None and task.uncancel() == 0:
                return _failed("cancelled", "the execution was cancelled before it began", ExecutionStatus.CANCELLED)
            raise
        finally:
            del self._running[invocation.execution_id]

    async def probe(
        self,
        runtime: Runtime,
        digest: str,
        bundle: bytes,
        limits: EffectiveLimits | None = None,
        modules: ModuleRules | None = None,
    ) -> LoadProbe:
        """Load code in a throw-away environment: the names of its functions, or why it does not load.

        `limits` and `modules` are those that its executions will have.
        """
        limits = limits or _PROBE_LIMITS
        if runtime.value not in self._runtimes:
            return LoadProbe(error=ExecutionFailure("runtime_unavailable", f"this server does not run {runtime.value}"))
        async with self._probes:
            try:
                prepared = await self._prepare(runtime, digest, partial(_given, bundle))
                bundle = self._with_policy(runtime, prepared, modules or ModuleRules())
            except CannotCompile as reason:
                return LoadProbe(error=ExecutionFailure("load_failed", str(reason)))
            stack_bytes = 0 if limits.stack_bytes == self._stack_bytes else limits.stack_bytes
            environment, _ = await self._pool.acquire(("", "", digest, 0), runtime.value, True, stack_bytes)
            allowance = Allowance(limits.startup_ms / 1000, limits.cpu_ms / 1000, 1024 * 1024)
            began = time.perf_counter()
            try:
                error = await environment.load(limits.memory_bytes, bundle, allowance)
            except Ended as ended:
                failure = _ended(ended, environment, limits.memory_bytes, allowance)[1]
                if ended.why is End.TIMED_OUT:
                    failure = _slow(limits.startup_ms, time.perf_counter() - began)
                return LoadProbe(error=failure)
            except wire.WireError as problem:
                return LoadProbe(error=ExecutionFailure("package_too_large", str(problem)))
            finally:
                self._pool.discard(environment)
        if error is not None and error.code == STACK_EXCEEDED:
            return LoadProbe(error=_deep(limits.stack_bytes))
        return LoadProbe(error=error.to_failure()) if error else LoadProbe(exports=environment.exports)

    async def rehearse(self, rehearsal: Rehearsal) -> Sequence[Rehearsed]:
        """Run a package's examples where no service is real. Raises Overloaded and SandboxUnavailable."""
        async with self._stage.turn(rehearsal.queue):
            try:
                bundle = await self._prepare(rehearsal.runtime, rehearsal.digest, partial(_given, rehearsal.bundle))
            except CannotCompile:
                return ()
            return await self._stage.rehearse(rehearsal, bundle)

    def cancel(self, execution_id: str) -> bool:
        """Stop an execution that runs or waits; whether there was one."""
        running = self._running.get(execution_id)
        if running is None:
            return False
        if running.cancelled:
            # Another word would cancel whatever its task does by then.
            return True
        running.cancelled = True
        if running.environment is not None:
            running.environment.end(End.CANCELLED)
        elif running.task is not None:
            running.task.cancel()
        return True

    async def forget(self, plugin_id: str) -> None:
        """End the plugin's idle environments, and busy ones after their call."""
        self._pool.forget(plugin_id)

    async def _bundle(self, invocation: Invocation) -> bytes:
        """The prepared code; a package that this process has not met before is prepared now."""
        runtime, digest = invocation.runtime, invocation.digest
        if runtime is Runtime.WASM:
            kept = self._components.kept(digest)
        else:
            kept = self._preparation.kept(runtime.value, digest)
        if kept:
            return kept
        with span("prepare"):
            return await self._prepare(runtime, digest, invocation.bundle)

    async def _prepare(self, runtime: Runtime, digest: str, fetch: Fetch) -> bytes:
        if runtime is Runtime.WASM:
            return await self._components.artefact(digest, await fetch())
        return await self._preparation.prepare(runtime.value, digest, fetch)

    def _with_policy(self, runtime: Runtime, bundle: bytes, rules: ModuleRules) -> bytes:
        """The bundle with what narrows the list of modules.

        What is prepared is kept without it: policies change, and tenants with other policies share what is prepared.
        """
        if runtime is Runtime.WASM or not (self._modules_denied or rules.denied or rules.needed is not None):
            return bundle
        policy = {"denied": self._modules_denied, "deniedByTenant": rules.denied, "needed": rules.needed}
        # A bundle is the JSON of an object with fields, and of two equal names in it the later one counts.
        return bundle[:-1] + b',"modules":' + msgspec.json.encode(policy) + b"}"

    async def _execute_in(
        self,
        environment: Environment,
        start: str,
        invocation: Invocation,
        bundle: bytes,
        services: Services | None = None,
    ) -> Outcome:
        """Run it; afterwards the environment is given back, unless other `services` than this server's were lent."""
        limits = invocation.limits
        # Not the loop's clock, which counts in whole milliseconds.
        began, cpu_before = time.perf_counter(), environment.cpu_s()
        frame = max(limits.output_bytes, wire.MAX_ARGUMENT_BYTES) + _FRAME_ROOM
        allowance = Allowance(limits.timeout_ms / 1000, limits.cpu_ms / 1000, frame)
        calls = self._calls(invocation, allowance.timeout_s, services or self._services)
        reusable, peak = False, -1
        try:
            verdict = None
            if start != "warm":
                with span("load"):
                    verdict = await self._load(environment, bundle, invocation, allowance)
                cpu_left = allowance.cpu_s - (environment.cpu_s() - cpu_before)
                time_left = allowance.timeout_s - (time.perf_counter() - began)
                allowance = replace(allowance, timeout_s=max(time_left, 0.001), cpu_s=max(cpu_left, 0.001))
            if verdict is None:
                request = wire.Invoke(
                    invocation.function,
                    invocation.input,
                    invocation.context,
                    limits.output_bytes,
                    limits.log_lines,
                    limits.log_bytes,
                )
                with span("run"):
                    calls.below = current.get()
                    done = await environment.run(request, calls, allowance)
                peak = environment.memory_used()
                verdict = _judge(done, peak, invocation)
                reusable = not done.trap and verdict[0] in (ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED)
        except Ended as ended:
            whole = Allowance(limits.timeout_ms / 1000, limits.cpu_ms / 1000, 0)
            verdict = (*_ended(ended, environment, limits.memory_bytes, whole), None)
            if calls.failure is not None:
                verdict = (ExecutionStatus.FAILED, calls.failure, None)
        except wire.WireError as error:
            verdict = (ExecutionStatus.FAILED, ExecutionFailure("input_too_large", str(error)), None)
        finally:
            wall, cpu = time.perf_counter() - began, environment.cpu_s() - cpu_before
            if peak < 0:
                peak = environment.memory_used()
            if services is None:
                await self._give_back(environment, calls, reusable=reusable, fresh=invocation.fresh)
            else:
                await _stay(environment, calls, reusable=reusable)
        status, failure, output = verdict
        if failure is not None and status in (ExecutionStatus.TIMED_OUT, ExecutionStatus.CPU_EXCEEDED):
            spent = wall if status is ExecutionStatus.TIMED_OUT else cpu
            failure = replace(failure, used=round(spent * 1000))
        return Outcome(
            status=status,
            output=output,
            error=failure,
            # A fresh environment that waited with its plugin loaded has run nothing: it was a spare.
            usage=Usage(
                round(wall * 1000, 3),
                round(cpu * 1000, 3),
                peak,
                calls.count,
                "spare" if invocation.fresh and start == "warm" else start,
            ),
            logs=environment.logs.lines,
            violations=(*environment.violations, *calls.violations),
            used=calls.used_rights,
        )

    def _calls(self, invocation: Invocation, timeout_s: float, services: Services) -> Calls:
        holder = Holder(
            invocation.execution_id, invocation.tenant_id, invocation.plugin_id, invocation.grants, invocation.hops
        )
        deadline = asyncio.get_running_loop().time() + timeout_s
        return Calls(services, holder, invocation.limits, deadline)

    async def _give_back(self, environment: Environment, calls: Calls, *, reusable: bool, fresh: bool) -> None:
        """Close the calls, then the environment may serve again: nothing of this execution reaches the next."""
        reusable = reusable and (not fresh or environment.renewable)
        if not reusable:
            environment.end(End.CLOSED)
        try:
            if calls.used:
                await calls.close()
        except BaseException:
            reusable = False
            raise
        finally:
            if reusable and fresh:
                # Said before the task runs: a plugin that is forgotten meanwhile must not be waited for.
                environment.renewing = True
                task = asyncio.create_task(self._renew(environment))
                self._renewing.add(task)
                task.add_done_callback(self._renewing.discard)
            elif reusable:
                self._pool.release(environment)
            else:
                self._pool.discard(environment)

    async def _renew(self, environment: Environment) -> None:
        """Make the environment as if it had never run anything; until then the pool counts it as busy."""
        error: GuestError | None = GuestError()
        try:
            error = await environment.renew(Allowance(_RENEWED_WITHIN_S, _RENEWED_WITHIN_S, 1024 * 1024))
        except Ended:
            return
        finally:
            if error is None:
                self._pool.release(environment)
            else:
                self._pool.discard(environment)

    async def _load(
        self, environment: Environment, bundle: bytes, invocation: Invocation, allowance: Allowance
    ) -> Verdict | None:
        """Take the plugin in; None when it stands."""
        limits, memory = invocation.limits, invocation.limits.memory_bytes
        renewable = invocation.fresh and invocation.runtime is not Runtime.WASM
        bundle = self._with_policy(invocation.runtime, bundle, invocation.modules)
        startup = replace(allowance, timeout_s=min(allowance.timeout_s, limits.startup_ms / 1000))
        try:
            error = await environment.load(memory, bundle, startup, renewable=renewable)
        except Ended as ended:
            if ended.why is not End.TIMED_OUT or startup.timeout_s == allowance.timeout_s:
                raise
            return ExecutionStatus.TIMED_OUT, _slow(limits.startup_ms), None
        if error is None:
            return None
        if error.code == STACK_EXCEEDED:
            return ExecutionStatus.FAILED, _deep(limits.stack_bytes), None
        if error.code == "crashed":
            used = environment.memory_used()
            return (*_stopped(error, used, memory), None)
        if error.code == "out_of_memory":
            return (*_full(environment.memory_used(), memory), None)
        return ExecutionStatus.FAILED, error.to_failure(), None


async def _stay(environment: Environment, calls: Calls, *, reusable: bool) -> None:
    """Close the calls and leave the environment to whoever holds it; one that must not go on is ended."""
    if not reusable:
        environment.end(End.CLOSED)
    try:
        await calls.close()
    except BaseException:
        environment.end(End.CLOSED)
        raise


async def _given(bundle: bytes) -> bytes:
    return bundle


def _judge(done: wire.Done, used: int, invocation: Invocation) -> Verdict:
    limits = invocation.limits
    if done.ok:
        if len(done.payload) > limits.output_bytes:
            return (*_too_large(len(done.payload), limits.output_bytes), None)
        if not _is_json(done.payload):
            message = "what the function returned is not JSON, or nests too deeply"
            return ExecutionStatus.FAILED, ExecutionFailure("output_not_json", message), None
        return ExecutionStatus.SUCCEEDED, None, done.payload
    error = read_error(done.payload)
    if done.trap and error.code == STACK_EXCEEDED:
        return ExecutionStatus.FAILED, _deep(limits.stack_bytes), None
    if done.trap:
        return (*_stopped(error, used, limits.memory_bytes), None)
    if error.code == "out_of_memory":
        return (*_full(used, limits.memory_bytes), None)
    if error.code == "output_too_large":
        return (*_too_large(error.used or 0, limits.output_bytes), None)
    return ExecutionStatus.FAILED, error.to_failure(), None


def _is_json(data: bytes) -> bool:
    if not wire.json_depth_within(data):
        return False
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _too_large(size: int, limit: int) -> tuple[ExecutionStatus, ExecutionFailure]:
    message = f"the output has {size} bytes; at most {limit} are allowed"
    return ExecutionStatus.FAILED, ExecutionFailure("output_too_large", message, limit=limit, used=size)


def _full(used: int, limit: int) -> tuple[ExecutionStatus, ExecutionFailure]:
    message = f"the plugin needed more memory than its limit of {limit // (1 << 20)} MB"
    return ExecutionStatus.OUT_OF_MEMORY, ExecutionFailure("out_of_memory", message, limit=limit, used=used)


def _deep(limit: int) -> ExecutionFailure:
    message = f"the plugin's calls went deeper than its stack of {limit // KILOBYTE} KB holds"
    return ExecutionFailure(STACK_EXCEEDED, message, limit=limit, used=limit)


def _slow(limit_ms: int, spent_s: float | None = None) -> ExecutionFailure:
    message = f"loading the plugin's code took longer than its limit of {limit_ms} ms"
    used = None if spent_s is None else round(spent_s * 1000)
    return ExecutionFailure("startup_exceeded", message, limit=limit_ms, used=used)


def _stopped(error: GuestError, used: int, limit: int) -> tuple[ExecutionStatus, ExecutionFailure]:
    """A guest that the engine stopped: full where its memory says so, else crashed."""
    if used >= limit * _FULL_SHARE:
        return _full(used, limit)
    message = error.message or "the plugin was stopped"
    return ExecutionStatus.CRASHED, ExecutionFailure("crashed", message)


def _ended(
    ended: Ended, environment: Environment, memory: int, allowance: Allowance
) -> tuple[ExecutionStatus, ExecutionFailure]:
    """What became of an execution whose environment has gone."""
    if ended.why is End.TIMED_OUT:
        limit = round(allowance.timeout_s * 1000)
        failure = ExecutionFailure("timed_out", f"the plugin ran longer than its limit of {limit} ms", limit=limit)
        return ExecutionStatus.TIMED_OUT, failure
    if ended.why is End.CPU_EXCEEDED:
        limit = round(allowance.cpu_s * 1000)
        failure = ExecutionFailure("cpu_exceeded", f"the plugin used more than {limit} ms of CPU time", limit=limit)
        return ExecutionStatus.CPU_EXCEEDED, failure
    if ended.why is End.CANCELLED:
        return ExecutionStatus.CANCELLED, ExecutionFailure("cancelled", "the execution was cancelled")
    if ended.why is End.PROTOCOL:
        message = "the environment broke the protocol and was ended"
        return ExecutionStatus.CRASHED, ExecutionFailure("protocol_violation", message)
    how = ended.how
    peak = max(environment.private_bytes, how.peak_rss_bytes - environment.base_bytes if how else 0)
    if how is not None and not how.lost and peak >= memory * _FULL_SHARE:
        return _full(peak, memory)
    message = "the environment ended before the function did"
    if how is not None and how.signal:
        message += f" (signal {how.signal})"
    return ExecutionStatus.CRASHED, ExecutionFailure("crashed", message)


def _failed(code: str, message: str, status: ExecutionStatus = ExecutionStatus.FAILED) -> Outcome:
    return Outcome(status, None, ExecutionFailure(code, message), Usage(0.0, 0.0, 0, 0, "cold"))
