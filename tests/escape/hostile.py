"""What the tests of this folder run: small plugins, and one way to call them."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plugyard.application.ports import Invocation, Outcome
from plugyard.domain.limits import EffectiveLimits
from plugyard.domain.manifest import Runtime
from plugyard.domain.modules import ModuleRules
from plugyard.domain.permissions import Permission
from plugyard.sandbox.outside.executor import Sandbox

LIMITS = EffectiveLimits(
    memory_bytes=128 << 20, timeout_ms=10_000, cpu_ms=10_000, output_bytes=1 << 20, log_lines=50, log_bytes=64 << 10
)

ENTRIES = {Runtime.PYTHON: "main.py", Runtime.JAVASCRIPT: "index.ts"}


def bundle(runtime: Runtime, source: str, files: Mapping[str, str] | None = None) -> bytes:
    entry = ENTRIES[runtime]
    return json.dumps({"entry": entry, "files": {entry: source, **(files or {})}}).encode()


async def run(
    sandbox: Sandbox,
    runtime: Runtime,
    source: str,
    function: str = "run",
    *,
    input: Any = None,
    files: Mapping[str, str] | None = None,
    grants: tuple[Permission, ...] = (),
    tenant: str = "acme",
    fresh: bool = True,
    plugin: str = "",
    execution: str = "",
    modules: ModuleRules | None = None,
    **limits: int,
) -> Outcome:
    """Execute `function` of `source`; without `plugin` in an environment that nothing else has used."""

    async def fetch() -> bytes:
        return bundle(runtime, source, files)

    context = {"tenantId": tenant, "userId": "ada", "executionId": "e", "configuration": {"k": 1}, "trace": {}}
    used = plugin or uuid.uuid4().hex
    outcome = await sandbox.execute(
        Invocation(
            execution_id=execution or uuid.uuid4().hex,
            tenant_id=tenant,
            plugin_id=used,
            version="1.0.0",
            digest=hashlib.sha256(bundle(runtime, source, files)).hexdigest(),
            runtime=runtime,
            function=function,
            input=json.dumps(input).encode(),
            context=json.dumps(context).encode(),
            limits=replace(LIMITS, **limits),
            grants=grants,
            fresh=fresh,
            bundle=fetch,
            modules=modules or ModuleRules(),
        )
    )
    if not plugin:
        # A fresh environment is made ready for its plugin's next call, and of this plugin there is none.
        await sandbox.forget(used)
    return outcome


def value(outcome: Outcome) -> Any:
    """The output of an execution that must have succeeded."""
    assert outcome.error is None, outcome.error
    assert outcome.output is not None
    return json.loads(outcome.output)
