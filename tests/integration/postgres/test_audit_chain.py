"""The trail's chain in the database: nobody writes past it unseen, not even who owns the tables."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from plugyard.application.ports import AuditFilter, PageRequest
from plugyard.cli.trail import check
from plugyard.domain.trail import BrokenTrail, Head
from tests.contract.given import a_stored_plugin, a_tenant, an_entry, an_execution, new_id
from tests.integration.conftest import Database


async def _chained(database: Database, entries: int = 5) -> str:
    """A tenant with so many entries in its trail."""
    tenant_id = (await a_tenant(database.store)).id
    for number in range(entries):
        async with database.store.for_tenant(tenant_id) as tx:
            await tx.audit(an_entry(tenant_id, detail={"n": number, "text": 'Müller \\ "x"\n', "part": 1.50}))
    return tenant_id


async def _lines(database: Database, tenant_id: str) -> list[bytes]:
    async with database.store.for_tenant(tenant_id) as tx:
        lines = [*await tx.audit_lines(0, 10_000), *await tx.unchained_audit(10)]
    return [line.text.encode() for line in lines]


async def _head(database: Database, tenant_id: str) -> Head:
    async with database.store.for_tenant(tenant_id) as tx:
        return await tx.audit_head()


@contextmanager
def _past_the_triggers(database: Database, *tables: str) -> Iterator[psycopg.Connection]:
    """The owner of the tables, who can switch triggers off: the strongest that is not a superuser."""
    with database.as_owner() as owner:
        for table in tables:
            owner.execute(f"alter table {table} disable trigger user")
        try:
            yield owner
        finally:
            for table in tables:
                owner.execute(f"alter table {table} enable trigger user")


async def test_an_untouched_chain_verifies_to_the_head_that_the_database_tells(database: Database) -> None:
    tenant_id = await _chained(database)
    assert check(await _lines(database, tenant_id)) == await _head(database, tenant_id)


async def test_each_listed_entry_shows_its_place_and_hash(database: Database) -> None:
    tenant_id = await _chained(database, 3)
    async with database.store.for_tenant(tenant_id) as tx:
        items = (await tx.list_audit(AuditFilter(), PageRequest())).items
    assert sorted(one.sequence or 0 for one in items) == [1, 2, 3]
    assert max((one.sequence or 0, one.hash) for one in items) == (3, (await _head(database, tenant_id)).hash)


async def test_concurrent_writers_make_one_chain_without_gaps(database: Database) -> None:
    tenant_id = await _chained(database, 0)

    async def write() -> None:
        for _ in range(5):
            async with database.store.for_tenant(tenant_id) as tx:
                await tx.audit(an_entry(tenant_id))
                await tx.audit(an_entry(tenant_id))

    await asyncio.gather(*(write() for _ in range(8)))
    assert check(await _lines(database, tenant_id)).sequence == 80


async def test_a_transaction_that_fails_leaves_no_gap(database: Database) -> None:
    tenant_id = await _chained(database, 2)

    async def fail() -> None:
        async with database.store.for_tenant(tenant_id) as tx:
            await tx.audit(an_entry(tenant_id))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with database.store.for_tenant(tenant_id) as tx:
        await tx.audit(an_entry(tenant_id))
    assert check(await _lines(database, tenant_id)).sequence == 3


async def test_violations_that_the_recorder_writes_are_chained_and_a_repeated_batch_is_once(database: Database) -> None:
    tenant_id = await _chained(database, 1)
    plugin = await a_stored_plugin(database.store, tenant_id)
    entry = an_entry(tenant_id, action="security.violated")
    for execution in (an_execution(plugin), an_execution(plugin)):
        await database.recorder.record(execution, [], [], [entry])
    assert check(await _lines(database, tenant_id)).sequence == 2


async def test_the_platforms_chain_is_apart_from_the_tenants(database: Database) -> None:
    tenant_id = await _chained(database, 1)
    async with database.store.for_operator() as tx:
        before = await tx.audit_head()
        await tx.audit(an_entry(None, action="tenant.created"))
        await tx.audit(an_entry(tenant_id))
    async with database.store.for_operator() as tx:
        lines = [line.text.encode() for line in await tx.audit_lines(0, 10_000)]
        assert (await tx.audit_head()).sequence == before.sequence + 1
        assert (await tx.list_audit(AuditFilter(), PageRequest(1))).items[0].action == "tenant.created"
    assert check(lines).sequence == before.sequence + 1
    assert check(await _lines(database, tenant_id)).sequence == 2


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_log set actor = 'nobody'",
        "delete from audit_log",
        "truncate audit_log cascade",
        "update audit_links set hash = hash",
        "delete from audit_links",
        "truncate audit_links",
        "update audit_heads set sequence = 0",
        "delete from audit_heads",
        "truncate audit_heads",
    ],
)
async def test_neither_the_service_nor_the_owner_changes_the_trail(database: Database, statement: str) -> None:
    tenant_id = await _chained(database, 1)
    with database.as_service() as service:
        service.execute("select set_config('plugyard.tenant_id', %s, false)", [tenant_id])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute(statement)
    with (
        database.as_owner() as owner,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="only added to"),
    ):
        owner.execute(statement)


@pytest.mark.parametrize(
    ("statement", "sequence", "why"),
    [
        ("update audit_log set actor = 'key:somebody else' where id = %(third)s", 3, "not what was chained"),
        ("update audit_log set detail = detail || '{\"n\": 77}' where id = %(third)s", 3, "not what was chained"),
        ("update audit_log set at = at + interval '1 microsecond' where id = %(third)s", 3, "not what was chained"),
        ("update audit_log set tenant_id = gen_random_uuid() where id = %(third)s", 3, "not what was chained"),
        ("delete from audit_links where entry_id = %(third)s", 3, "missing"),
        (
            "update audit_links set sequence = sequence + 10 where entry_id = %(third)s",
            3,
            "missing",
        ),
        (
            "insert into audit_log (id, tenant_id, at, actor, action, target) "
            "values (gen_random_uuid(), %(tenant)s, now(), 'key:1', 'plugin.activated', 'x')",
            6,
            "past the triggers",
        ),
    ],
)
async def test_what_is_done_past_the_triggers_is_found_and_named(
    database: Database, statement: str, sequence: int, why: str
) -> None:
    tenant_id = await _chained(database)
    async with database.store.for_tenant(tenant_id) as tx:
        items = (await tx.list_audit(AuditFilter(), PageRequest())).items
    third = next(one.id for one in items if one.sequence == 3)
    with _past_the_triggers(database, "audit_log", "audit_links") as owner:
        owner.execute(statement, {"third": third, "tenant": tenant_id})
    with pytest.raises(BrokenTrail, match=why) as broken:
        check(await _lines(database, tenant_id))
    assert broken.value.sequence == sequence


async def test_two_entries_that_change_places_are_found(database: Database) -> None:
    tenant_id = await _chained(database)
    with _past_the_triggers(database, "audit_links") as owner:
        for before, after in ((2, 90), (3, 2), (90, 3)):
            owner.execute(
                "update audit_links set sequence = %s where chain = %s and sequence = %s", [after, tenant_id, before]
            )
    with pytest.raises(BrokenTrail, match="not what was chained") as broken:
        check(await _lines(database, tenant_id))
    assert broken.value.sequence == 2


async def test_a_tail_that_was_cut_off_is_found_by_a_head_that_was_noted(database: Database) -> None:
    tenant_id = await _chained(database)
    noted = await _head(database, tenant_id)
    earlier = check((await _lines(database, tenant_id))[:3])
    with _past_the_triggers(database, "audit_log", "audit_links", "audit_heads") as owner:
        # All traces of the last two entries go, the head included, as if they had never been.
        gone = owner.execute(
            "delete from audit_links where chain = %s and sequence > 3 returning entry_id", [tenant_id]
        ).fetchall()
        owner.execute("delete from audit_log where id = any(%s)", [[entry_id for (entry_id,) in gone]])
        owner.execute(
            "update audit_heads set sequence = 3, hash = decode(%s, 'hex') where chain = %s", [earlier.hash, tenant_id]
        )
    lines = await _lines(database, tenant_id)
    assert check(lines) == earlier == await _head(database, tenant_id)
    with pytest.raises(BrokenTrail, match="tail was cut off") as broken:
        check(lines, noted)
    assert broken.value.sequence == 4


async def test_a_chain_that_was_computed_anew_is_found_by_a_head_that_was_noted(database: Database) -> None:
    tenant_id, other = await _chained(database), await _chained(database)
    noted = check((await _lines(database, tenant_id))[:3])
    # Another chain of the same length stands for one that somebody wrote anew from its beginning.
    with pytest.raises(BrokenTrail, match="was changed") as broken:
        check(await _lines(database, other), noted)
    assert broken.value.sequence == 3


async def test_the_trail_outlives_its_tenant_and_no_clean_up_drops_it(database: Database) -> None:
    from datetime import timedelta

    tenant_id = new_id()
    async with database.store.for_tenant(tenant_id) as tx:
        await tx.audit(an_entry(tenant_id))
    await database.store.clean_up(timedelta(0), timedelta(0))
    assert check(await _lines(database, tenant_id)).sequence == 1
