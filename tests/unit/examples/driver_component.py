"""Runs a component natively: requests as JSON on standard input, outcomes as JSON on standard output."""

import json
import sys
from pathlib import Path

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker

engine = Engine()
linker = Linker(engine)
linker.add_wasip2()
logs: list[dict[str, object]] = []


def log(_: object, level: str, message: str, fields: str) -> None:
    logs.append({"level": level, "message": message, "fields": json.loads(fields)})


with linker.root() as root, root.add_instance("plugyard:plugin/host@1.0.0") as host:
    host.add_func("log", log)
store = Store(engine)
store.set_wasi(WasiConfig())
instance = linker.instantiate(store, Component(engine, Path(sys.argv[1]).read_bytes()))
functions, invoke = instance.get_func(store, "functions"), instance.get_func(store, "invoke")
assert functions is not None
assert invoke is not None
names = functions(store)
outcomes = []
for request in json.load(sys.stdin):
    logs.clear()
    assert request["function"] in names, names
    result = invoke(store, request["function"], json.dumps(request["input"]), "{}")
    key, value = ("output", json.loads(result.payload)) if result.tag == "ok" else ("error", result.payload)
    outcomes.append({key: value, "logs": list(logs)})
print(json.dumps(outcomes))
