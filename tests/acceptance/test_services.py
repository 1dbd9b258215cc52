"""The services of the broker over HTTP, end to end, from both languages: what is kept is kept, and for one tenant."""

import json
from typing import Any

import httpx
import pytest

from tests.acceptance.test_path_of_a_package import package, run, upload
from tests.conftest import RunningService

PERMISSIONS = ["database", "cache", {"service": "events", "topics": ["note.*"]}, "filesystem"]

PYTHON = """
import asyncio

async def setup(input, context):
    db = context.services.database
    await db.execute("create table if not exists notes (id int primary key, owner text, at timestamptz default now())")

async def add(input, context):
    s = context.services
    async with s.database.transaction() as tx:
        for id in input["ids"]:
            await tx.execute("insert into notes (id, owner) values ($1, $2)", [id, context.user_id])
        seen = await tx.query("select count(*) as n from notes")
    count, _, _ = await asyncio.gather(
        s.cache.increment("added", len(input["ids"])),
        s.files.write("notes/last.txt", f"{seen[0]['n']} notes"),
        s.events.publish("note.added", {"ids": input["ids"]}),
    )
    return {"count": count, "file": await s.files.read("notes/last.txt"), "files": await s.files.list()}

async def ids(input, context):
    return [row["id"] for row in await context.services.database.query("select id from notes order by id")]

async def listed(input, context):
    return await context.services.database.transaction(
        [{"sql": "insert into notes (id) values ($1)", "parameters": [id]} for id in input["ids"]])

async def forget(input, context):
    async with context.services.database.transaction() as tx:
        await tx.execute("delete from notes")
        raise ValueError("changed my mind")

async def leave_open(input, context):
    db = context.services.database
    tx = await db.transaction().__aenter__()
    await tx.execute("delete from notes")
    return "left"

async def many(input, context):
    await asyncio.gather(*(context.services.cache.set(str(n), n) for n in range(input)))
    return sum(await asyncio.gather(*(context.services.cache.get(str(n)) for n in range(input))))

async def flood(input, context):
    while True:
        try:
            await context.services.cache.get("x")
        except Exception:
            pass

async def denied(input, context):
    try:
        await context.services.events.publish("invoice.paid", None)
    except PermissionError as error:
        first = str(error)
    try:
        await context.services.database.query("set role plugyard_keeper")
    except PermissionError as error:
        return [first, str(error)]
"""

TYPESCRIPT = """
import type { Context } from "@plugyard/sdk";
type Ids = { ids: number[] };

export async function setup(_: unknown, { services: { database } }: Context) {
  await database.execute(
    "create table if not exists notes (id int primary key, owner text, at timestamptz default now())");
}

export async function add(input: Ids, context: Context) {
  const { database, cache, files, events } = context.services;
  const seen = await database.transaction(async (tx) => {
    for (const id of input.ids) {
      await tx.execute("insert into notes (id, owner) values ($1, $2)", [id, context.userId]);
    }
    return tx.query<{ n: number }>("select count(*) as n from notes");
  });
  const [count] = await Promise.all([
    cache.increment("added", input.ids.length),
    files.write("notes/last.txt", `${seen[0].n} notes`),
    events.publish("note.added", { ids: input.ids }),
  ]);
  return { count, file: await files.read("notes/last.txt"), files: await files.list() };
}

export async function ids(_: unknown, { services: { database } }: Context) {
  return (await database.query<{ id: number }>("select id from notes order by id")).map((row) => row.id);
}

export function listed(input: Ids, { services: { database } }: Context) {
  return database.transaction(
    input.ids.map((id) => ({ sql: "insert into notes (id) values ($1)", parameters: [id] })));
}

export async function forget(_: unknown, { services: { database } }: Context) {
  await database.transaction(async (tx) => {
    await tx.execute("delete from notes");
    throw new RangeError("changed my mind");
  });
}

export async function leaveOpen(_: unknown, { services: { database } }: Context) {
  return new Promise((resolve) => {
    database.transaction(async (tx) => {
      await tx.execute("delete from notes");
      resolve("left");
      await new Promise(() => {});
    });
  });
}

export async function many(count: number, { services: { cache } }: Context) {
  const all = [...Array(count).keys()];
  await Promise.all(all.map((n) => cache.set(String(n), n)));
  return (await Promise.all(all.map((n) => cache.get<number>(String(n))))).reduce((a, b) => a! + b!, 0);
}

export async function flood(_: unknown, { services: { cache } }: Context) {
  for (;;) await cache.get("x").catch(() => {});
}

export async function denied(_: unknown, { services: { events, database } }: Context) {
  const told: string[] = [];
  const attempts = [() => events.publish("invoice.paid", null), () => database.query("set role plugyard_keeper")];
  for (const attempt of attempts) {
    await attempt().catch((error: Error) => { if (error.name === "PermissionError") told.push(error.message); });
  }
  return told;
}
"""

SOURCES = {"python": ("main.py", PYTHON, "leave_open"), "javascript": ("index.ts", TYPESCRIPT, "leaveOpen")}


@pytest.fixture(scope="module")
def client(service: RunningService) -> Any:
    with service.client() as client:
        yield client


def installed(client: httpx.Client, runtime: str, name: str) -> str:
    """A plugin with all of its grants, set up and active."""
    entry, code, _ = SOURCES[runtime]
    data = package("", files={entry: code}, runtime=runtime, entry=entry, metadata={"name": name},
                   security={"permissions": PERMISSIONS})  # fmt: skip
    answer = upload(client, data)
    assert answer.status_code == 201, answer.text
    plugin = str(answer.json()["plugin"]["id"])
    for step in ("install", "activate"):
        done = client.post(f"/api/v1/plugins/{plugin}/{step}", json={})
        assert done.status_code == 200, done.text
    ready = run(client, plugin, "setup")
    assert ready["status"] == "succeeded", ready
    return plugin


@pytest.mark.parametrize("runtime", SOURCES)
class TestServices:
    """One plugin for each runtime and test."""

    def test_database_cache_files_and_events_work_together(self, client: httpx.Client, runtime: str) -> None:
        plugin = installed(client, runtime, f"services-{runtime}")
        done = run(client, plugin, "add", {"ids": [1, 2]})
        assert done["output"] == {"count": 2, "file": "2 notes", "files": ["notes/last.txt"]}, done
        assert run(client, plugin, "add", {"ids": [3]})["output"]["count"] == 3
        assert run(client, plugin, "listed", {"ids": [4, 5]})["output"] == [[], []]
        assert run(client, plugin, "ids")["output"] == [1, 2, 3, 4, 5]

    def test_a_transaction_that_fails_or_is_left_open_changes_nothing(self, client: httpx.Client, runtime: str) -> None:
        plugin = installed(client, runtime, f"rolled-back-{runtime}")
        run(client, plugin, "add", {"ids": [1]})
        forgot = run(client, plugin, "forget")
        assert forgot["status"] == "failed"
        assert "changed my mind" in forgot["error"]["message"]
        assert run(client, plugin, "ids")["output"] == [1]
        twice = run(client, plugin, "add", {"ids": [2, 1]})
        assert twice["error"]["code"] == "unique_violation", twice
        assert run(client, plugin, "ids")["output"] == [1]
        assert run(client, plugin, "listed", {"ids": [7, 1]})["error"]["code"] == "unique_violation"
        assert run(client, plugin, SOURCES[runtime][2])["output"] == "left"
        assert run(client, plugin, "ids")["output"] == [1]

    def test_many_calls_at_once_are_served_and_a_flood_is_ended(self, client: httpx.Client, runtime: str) -> None:
        plugin = installed(client, runtime, f"flood-{runtime}")
        assert run(client, plugin, "many", 300)["output"] == 44850
        flood = run(client, plugin, "flood")
        assert flood["error"]["code"] == "service_calls_exceeded", flood
        assert (flood["error"]["limit"], flood["error"]["used"]) == (1000, 1001)
        assert run(client, plugin, "many", 3)["output"] == 3

    def test_a_denial_is_a_permission_error_an_event_and_an_audit_entry(
        self, client: httpx.Client, runtime: str
    ) -> None:
        plugin = installed(client, runtime, f"denied-{runtime}")
        done = run(client, plugin, "denied")
        assert len(done["output"]) == 2, done
        trail = client.get("/api/v1/audit", params={"limit": 100}).json()["items"]
        details = [entry["detail"] for entry in trail if entry["target"] == plugin]
        assert json.dumps(details).count("permission_denied") == 2

    def test_what_is_kept_outlives_the_environment(self, client: httpx.Client, runtime: str) -> None:
        plugin = installed(client, runtime, f"kept-{runtime}")
        run(client, plugin, "add", {"ids": [9]})
        for step in ("deactivate", "activate"):
            assert client.post(f"/api/v1/plugins/{plugin}/{step}", json={}).status_code == 200
        assert run(client, plugin, "ids")["output"] == [9]
