"""What a plugin may import: the list in guests/modules.json holds in both guests, and a refusal says what to use."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from plugyard.domain.manifest import Runtime
from plugyard.domain.modules import ModuleRules
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import PoolSettings

from .hostile import bundle, run, value

PYTHON, JAVASCRIPT = Runtime.PYTHON, Runtime.JAVASCRIPT
LIST = json.loads((Path(__file__).resolve().parents[2] / "guests" / "modules.json").read_text())


async def _probe(sandbox: Sandbox, runtime: Runtime, source: str, files: dict[str, str] | None = None) -> Any:
    return await sandbox.probe(runtime, f"{runtime}{hash(source)}", bundle(runtime, source, files))


async def test_every_module_of_the_list_can_be_imported_in_python(sandbox: Sandbox) -> None:
    lines = [f"import {name}" for name in LIST["python"]["allowed"] if name != "__future__"]
    source = "\n".join(["from __future__ import annotations", *lines, "def run():\n    return 1\n"])
    assert value(await run(sandbox, PYTHON, source)) == 1


async def test_every_module_of_the_list_can_be_imported_in_javascript_by_both_names(sandbox: Sandbox) -> None:
    names = [f"{prefix}{name}" for name in LIST["javascript"]["allowed"] for prefix in ("", "node:")]
    lines = [f"import * as m{at} from {json.dumps(name)};" for at, name in enumerate(names)]
    every = ", ".join(f"m{at}" for at in range(len(names)))
    source = "\n".join([*lines, f"export const run = () => [{every}].map(Boolean).includes(false);"])
    assert value(await run(sandbox, JAVASCRIPT, source)) is False


@pytest.mark.parametrize("name", LIST["python"]["refused"])
async def test_a_refused_module_of_python_names_itself_and_the_reason(sandbox: Sandbox, name: str) -> None:
    source = f"def run():\n    import {name}\n"
    outcome = await run(sandbox, PYTHON, source, plugin="imports", fresh=True)
    assert outcome.error is not None
    assert outcome.error.code == "module_refused", outcome.error
    assert f"the module {name} is not offered" in outcome.error.message
    assert LIST["reasons"][LIST["python"]["refused"][name]] in outcome.error.message


async def test_refused_modules_of_javascript_name_themselves_and_the_reason(sandbox: Sandbox) -> None:
    refused = LIST["javascript"]["refused"]
    source = (
        "export const run = (names) => names.map((name) => {"
        " try { require(name); return null; } catch (error) { return [error.code, error.message]; } });"
    )
    for name, (code, message) in zip(
        refused, value(await run(sandbox, JAVASCRIPT, source, input=list(refused))), strict=True
    ):
        assert code == "module_refused"
        assert f'imports "{name}"' in message
        assert LIST["reasons"][refused[name]] in message


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import requests\n", "context.services.http"),
        ("from urllib import request\n", "context.services.http"),
        ("from urllib.request import urlopen\n", "context.services.http"),
        ("import os.path, subprocess\n", "cannot start processes"),
        ("import importlib\nimportlib.import_module('socket')\n", "context.services.http"),
        ("import numpy\n", "native code does not load"),
        ("import left_pad\n", "pure Python goes under lib/"),
    ],
)
async def test_a_refused_import_in_python_stops_the_upload_at_its_line(
    sandbox: Sandbox, source: str, says: str
) -> None:
    probe = await _probe(sandbox, PYTHON, source)
    assert probe.error is not None
    assert probe.error.code == "module_refused"
    assert says in probe.error.message
    assert 'File "main.py", line' in probe.error.stack


async def test_a_package_of_npm_is_refused_with_what_to_do(sandbox: Sandbox) -> None:
    probe = await _probe(sandbox, JAVASCRIPT, "import x from 'lodash';\nexport const run = () => x;\n")
    assert probe.error is not None
    assert probe.error.code == "module_refused"
    assert '"lodash"' in probe.error.message
    assert "bundle what you need from npm" in probe.error.message


async def test_a_library_may_do_without_a_refused_module_and_the_standard_library_has_its_own(sandbox: Sandbox) -> None:
    source = (
        "try:\n    import ssl\nexcept ModuleNotFoundError:\n    ssl = None\n"
        "import logging.handlers\nimport tarfile\ndef run():\n    return ssl\n"
    )
    assert value(await run(sandbox, PYTHON, source)) is None


async def test_a_module_of_the_package_goes_before_the_list(sandbox: Sandbox) -> None:
    files = {"lib/requests/__init__.py": "from .api import get\n", "lib/requests/api.py": "def get():\n    return 7\n"}
    assert (
        value(await run(sandbox, PYTHON, "import requests\ndef run():\n    return requests.get()\n", files=files)) == 7
    )


async def test_the_shims_of_node_compute_what_node_does(sandbox: Sandbox) -> None:
    source = """
import path, { join } from "node:path";
import EventEmitter, { once } from "node:events";
import { createHash, createHmac, randomBytes, timingSafeEqual, randomInt } from "crypto";
import assert from "assert";
import { format, inspect, promisify } from "util";
import { parse } from "querystring";
import * as url from "url";
import { setTimeout as later } from "timers/promises";
import { StringDecoder } from "string_decoder";
export async function run() {
  const emitter = new EventEmitter();
  let heard = 0;
  emitter.on("x", (by) => (heard += by));
  emitter.emit("x", 2);
  let refused = "";
  try { assert.deepStrictEqual({ a: 1 }, { a: 2 }); } catch (error) { refused = error.code; }
  return [
    path.join("a", "..", "b"), join("x", "y"), heard,
    createHash("sha256").update("abc").digest("hex"), createHmac("sha1", "k").update("d").digest("base64"),
    randomBytes(70000).length, timingSafeEqual(Buffer.from("a"), Buffer.from("a")), randomInt(5) < 5, refused,
    format("%s %d", "n", 2), inspect({ a: [1] }), parse("a=1&b=2").b, url.parse("http://h/p?q").pathname,
    new url.URL("http://h/z").pathname, await later(5, "later"), new StringDecoder("utf8").write(Buffer.from("ä")),
    Buffer.from("hi").toString("base64"), await promisify((done) => done(null, 3))(),
  ];
}
"""
    assert value(await run(sandbox, JAVASCRIPT, source)) == [
        *(
            "b",
            "x/y",
            2,
            hashlib.sha256(b"abc").hexdigest(),
            base64.b64encode(hmac.digest(b"k", b"d", "sha1")).decode(),
        ),
        *(70000, True, True, "ERR_ASSERTION", "n 2", "{ a: [ 1 ] }", "2", "/p", "/z", "later", "ä", "aGk=", 3),
    ]


@pytest.fixture
async def strict(guests: Guests) -> AsyncIterator[Sandbox]:
    """A sandbox whose operator denies two modules."""
    sandbox = Sandbox(
        guests, PoolSettings(spares=0, max_environments=4), modules_denied=("pickle", "node:crypto", "os.path")
    )
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@pytest.mark.parametrize(
    ("runtime", "source"),
    [
        (PYTHON, "import pickle\n"),
        (PYTHON, "from os import path\n"),
        (JAVASCRIPT, "import { createHash } from 'crypto';\nexport const run = () => createHash('md5');\n"),
        (JAVASCRIPT, "import { createHash } from 'node:crypto';\nexport const run = () => createHash('md5');\n"),
    ],
)
async def test_what_the_operator_denies_is_refused_in_his_name(strict: Sandbox, runtime: Runtime, source: str) -> None:
    probe = await _probe(strict, runtime, source)
    assert probe.error is not None
    assert probe.error.code == "module_refused"
    assert "the operator of this service does not allow it" in probe.error.message


RUNTIMES = pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
IMPORTER = {
    PYTHON: "import importlib, json\n"
    "def run(name):\n"
    "    try:\n        importlib.import_module(name)\n"
    "    except ModuleNotFoundError as error:\n        return str(error)\n",
    JAVASCRIPT: "import 'util';\nexport const run = (name) => {\n"
    "  try { require(name); return null; } catch (error) { return error.message; }\n};\n",
}
NEEDED = {
    PYTHON: ModuleRules(needed=("json", "importlib", "urllib.parse", "collections")),
    JAVASCRIPT: ModuleRules(needed=("util", "node:path", "timers/promises")),
}


@pytest.mark.parametrize(
    ("runtime", "name", "offered"),
    [
        (PYTHON, "json", True),
        (PYTHON, "json.decoder", True),
        (PYTHON, "urllib.parse", True),
        # Importing a module imports the one that it lies in.
        (PYTHON, "urllib", True),
        (PYTHON, "collections.abc", True),
        (PYTHON, "urllib.error", False),
        (PYTHON, "csv", False),
        (PYTHON, "helper", True),
        (JAVASCRIPT, "util", True),
        (JAVASCRIPT, "node:util/types", True),
        (JAVASCRIPT, "path", True),
        (JAVASCRIPT, "path/posix", True),
        (JAVASCRIPT, "timers/promises", True),
        (JAVASCRIPT, "timers", False),
        (JAVASCRIPT, "crypto", False),
        (JAVASCRIPT, "./helper", True),
    ],
)
async def test_a_plugin_imports_what_its_manifest_names_and_its_own_files_alone(
    sandbox: Sandbox, runtime: Runtime, name: str, offered: bool
) -> None:
    files = {PYTHON: {"lib/helper.py": "x = 1\n"}, JAVASCRIPT: {"helper.ts": "export const x = 1;\n"}}[runtime]
    told = value(await run(sandbox, runtime, IMPORTER[runtime], input=name, files=files, modules=NEEDED[runtime]))
    assert (told is None) is offered, told
    if not offered:
        assert name in told
        assert "security.modules in plugin.json does not name it" in told


@RUNTIMES
async def test_what_the_list_refuses_stays_refused_although_a_manifest_names_it(
    sandbox: Sandbox, runtime: Runtime
) -> None:
    name = {PYTHON: "socket", JAVASCRIPT: "net"}[runtime]
    base = {PYTHON: ("importlib", "json"), JAVASCRIPT: ("util",)}[runtime]
    rules = ModuleRules(needed=(*base, name))
    told = value(await run(sandbox, runtime, IMPORTER[runtime], input=name, modules=rules))
    assert "context.services.http" in told


@RUNTIMES
async def test_a_future_statement_needs_no_name_and_no_need_of_modules_is_a_need_of_none(
    sandbox: Sandbox, runtime: Runtime
) -> None:
    source = {
        PYTHON: "from __future__ import annotations\nimport helper\ndef run(): return helper.x\n",
        JAVASCRIPT: "import { x } from './helper';\nexport const run = () => x;\n",
    }[runtime]
    files = {PYTHON: {"helper.py": "x = 7\n"}, JAVASCRIPT: {"helper.ts": "export const x = 7;\n"}}[runtime]
    assert value(await run(sandbox, runtime, source, files=files, modules=ModuleRules(needed=()))) == 7


DENIED = {PYTHON: "csv", JAVASCRIPT: "url"}


@RUNTIMES
@pytest.mark.parametrize("fresh", [True, False])
async def test_what_a_tenant_is_denied_holds_for_that_tenant_alone_and_from_the_next_call_on(
    sandbox: Sandbox, runtime: Runtime, fresh: bool
) -> None:
    name, plugin = DENIED[runtime], f"denied-{runtime}-{fresh}"

    async def ask(tenant: str, rules: ModuleRules) -> Any:
        source = IMPORTER[runtime]
        return value(
            await run(sandbox, runtime, source, input=name, tenant=tenant, plugin=plugin, fresh=fresh, modules=rules)
        )

    denied = ModuleRules(denied=(name,))
    assert await ask("acme", ModuleRules()) is None
    assert "this tenant does not allow it" in await ask("acme", denied)
    # Prepared once, and shared: the neighbour's copy holds nothing of another tenant's policy.
    assert await ask("globex", ModuleRules()) is None
    assert "this tenant does not allow it" in await ask("acme", denied)
    assert await ask("acme", ModuleRules()) is None
    await sandbox.forget(plugin)


@RUNTIMES
async def test_an_upload_is_held_against_what_its_tenant_is_denied(sandbox: Sandbox, runtime: Runtime) -> None:
    name = DENIED[runtime]
    source = {
        PYTHON: f"import {name}\ndef run(): return 1\n",
        JAVASCRIPT: f"import * as it from 'node:{name}';\nexport const run = () => it;\n",
    }[runtime]
    code = bundle(runtime, source)
    for rules, refused in ((ModuleRules(denied=(name,)), True), (ModuleRules(), False)):
        probe = await sandbox.probe(runtime, hashlib.sha256(code).hexdigest(), code, None, rules)
        assert (probe.error is not None) is refused
    rules = ModuleRules(needed=("json", "util"))
    probe = await sandbox.probe(runtime, hashlib.sha256(code).hexdigest(), code, None, rules)
    assert probe.error is not None
    assert probe.error.code == "module_refused"


async def test_a_package_cannot_bring_a_policy_of_its_own(sandbox: Sandbox) -> None:
    # Two names that are equal in the bundle: what the service adds stands last, and that counts.
    source = "import csv\ndef run(): return 1\n"
    text = json.dumps({"modules": {}, "entry": "main.py", "files": {"main.py": source}}).encode()
    probe = await sandbox.probe(PYTHON, "own-policy", text, None, ModuleRules(denied=("csv",)))
    assert probe.error is not None
    assert probe.error.code == "module_refused"
