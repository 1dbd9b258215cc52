"""Secrets at rest: sealed in every row, bound to their plugin, and rotated without a pause."""

from __future__ import annotations

import base64
import os
import timeit
from dataclasses import replace

import pytest

from plugyard.domain.errors import SecretsLocked
from plugyard.domain.plugin import Plugin
from plugyard.domain.secrets import LockedSecrets
from plugyard.infrastructure.postgres.seals import BadSecretKey, Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from tests.contract.given import NOW, a_stored_plugin, a_tenant, a_webhook, new_id
from tests.integration.conftest import SECRET_KEYS, Database

PLANTED = "planted-secret-4711"
SECRETS = {"token": PLANTED, "nested": {"list": [PLANTED, 1, None]}}


async def _planted(database: Database, store: PostgresStore | None = None) -> Plugin:
    tenant = await a_tenant(database.store)
    return await a_stored_plugin(store or database.store, tenant.id, f"p-{new_id()}", secrets=SECRETS)


async def _secrets(store: PostgresStore, plugin: Plugin) -> object:
    async with store.for_tenant(plugin.tenant_id) as tx:
        view = await tx.plugin(plugin.id)
    assert view is not None
    return view.plugin.secrets


async def _store(database: Database, *keys: str) -> PostgresStore:
    store = PostgresStore(database.urls.service_url, Seals(keys), connections=2)
    await store.open()
    return store


def _row(database: Database, plugin: Plugin) -> tuple[object, bytes, str]:
    with database.as_owner() as owner:
        row = owner.execute(
            "select secrets, sealed_secrets, sealed_by from plugins where id = %s", [plugin.id]
        ).fetchone()
    assert row is not None
    return row


async def test_what_is_stored_of_secrets_is_sealed_and_read_back_whole(database: Database) -> None:
    plugin = await _planted(database)
    plain, sealed, key_id = _row(database, plugin)
    assert plain == {}
    assert PLANTED.encode() not in sealed
    assert key_id == "2026-11"
    assert await _secrets(database.store, plugin) == SECRETS


async def test_each_sealing_has_another_nonce(database: Database) -> None:
    plugin = await _planted(database)
    _, before, _ = _row(database, plugin)
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        view = await tx.plugin(plugin.id)
        assert view is not None
        await tx.save_plugin(view.plugin)
    _, after, _ = _row(database, plugin)
    assert before[:13] != after[:13]
    assert await _secrets(database.store, plugin) == SECRETS


async def test_a_row_that_is_copied_to_another_plugin_does_not_open(database: Database) -> None:
    plugin, thief = await _planted(database), await _planted(database)
    with database.as_owner() as owner:
        owner.execute(
            "update plugins set sealed_secrets = (select sealed_secrets from plugins where id = %s) where id = %s",
            [plugin.id, thief.id],
        )
    found = await _secrets(database.store, thief)
    assert isinstance(found, LockedSecrets)
    with pytest.raises(SecretsLocked, match=thief.id):
        found["token"]


async def test_a_lost_key_locks_its_plugin_alone_and_is_named(database: Database) -> None:
    other = await _store(database, "lost:" + "C" * 42 + "A=")
    try:
        locked = await _planted(database, other)
    finally:
        await other.close()
    fine = await _planted(database)
    found = await _secrets(database.store, locked)
    assert isinstance(found, LockedSecrets)
    with pytest.raises(SecretsLocked, match=f"{locked.id}.*'lost'"):
        dict(found)
    assert await _secrets(database.store, fine) == SECRETS
    # What is not about secrets still changes, and what is sealed stays as it was until the key is back.
    _, sealed, _ = _row(database, locked)
    async with database.store.for_tenant(locked.tenant_id) as tx:
        view = await tx.plugin(locked.id)
        assert view is not None
        await tx.save_plugin(replace(view.plugin, suspended_because="for a test"))
    assert _row(database, locked)[1:] == (sealed, "lost")


async def test_a_rotation_seals_everything_with_the_first_key_and_names_what_it_cannot_open(database: Database) -> None:
    old = await _store(database, SECRET_KEYS[1])
    lost = await _store(database, "lost:" + "C" * 42 + "A=")
    try:
        plugins = [await _planted(database, old) for _ in range(3)]
        locked = await _planted(database, lost)
    finally:
        await old.close()
        await lost.close()
    with database.as_owner() as owner:
        # A row as it was before there were seals.
        owner.execute(
            "update plugins set secrets = %s, sealed_secrets = null, sealed_by = null where id = %s",
            [f'{{"token": "{PLANTED}"}}', plugins[0].id],
        )
    assert await _secrets(database.store, plugins[0]) == {"token": PLANTED}
    async with database.store.for_operator() as tx:
        assert await tx.plain_secrets()
    after, sealed, named = None, 0, []
    while True:
        async with database.store.for_operator() as tx:
            step = await tx.reseal_secrets(after, 2)
        sealed, after = sealed + step.sealed, step.next
        named += [one.plugin_id for one in step.locked]
        if after is None:
            break
    assert sealed >= 3
    assert locked.id in named
    for plugin in plugins:
        plain, _, key_id = _row(database, plugin)
        assert (plain, key_id) == ({}, "2026-11")
    assert await _secrets(database.store, plugins[0]) == {"token": PLANTED}
    assert await _secrets(database.store, plugins[2]) == SECRETS
    async with database.store.for_operator() as tx:
        keys = await tx.secret_keys()
        assert list(keys)[:2] == ["2026-11", "2025-11"]
        assert keys["2025-11"] == 0
        assert keys["lost"] >= 1
        assert not await tx.plain_secrets()


@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("x",),
        ("x:" + "A" * 42,),
        ("UPPER:" + "A" * 43,),
        ("a:" + "A" * 43 + "=", "a:" + "A" * 43 + "="),
        ("a:" + "=" * 43,),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_without_being_shown(keys: tuple[str, ...]) -> None:
    with pytest.raises(BadSecretKey) as refused:
        Seals(keys)
    assert "A" * 10 not in str(refused.value)


def test_a_key_may_be_written_for_addresses_too() -> None:
    raw = bytes(range(220, 252))
    standard, safe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
    assert standard != safe
    sealed, key_id = Seals([f"a:{standard}"]).seal("t", "p", SECRETS)
    assert Seals([f"a:{safe}"]).open("t", "p", sealed, key_id) == SECRETS


def test_opening_costs_less_than_fifty_microseconds() -> None:
    seals = Seals(SECRET_KEYS)
    sealed, key_id = seals.seal("tenant", "plugin", SECRETS)
    best = min(timeit.repeat(lambda: seals.open("tenant", "plugin", sealed, key_id), number=200, repeat=5)) / 200
    assert best < 50e-6, f"{best * 1e6:.1f} microseconds"


def test_nothing_shows_a_key() -> None:
    assert "AAAA" not in repr(Seals(SECRET_KEYS))


async def test_a_webhooks_secrets_are_sealed_bound_to_it_and_change_their_key_with_the_others(
    database: Database,
) -> None:
    old = await _store(database, SECRET_KEYS[1])
    try:
        plugin = await _planted(database, old)
        webhook, hashed = a_webhook(plugin, secrets={"current": PLANTED}), os.urandom(32)
        thief = a_webhook(plugin)
        async with old.for_tenant(plugin.tenant_id) as tx:
            await tx.add_webhook(webhook, hashed)
            await tx.add_webhook(thief, os.urandom(32))
    finally:
        await old.close()
    before = _webhook_row(database, webhook.id)
    assert PLANTED.encode() not in before[0]
    async with database.store.for_operator() as tx:
        assert (await tx.secret_keys())[before[1]] >= 2
        while (step := await tx.reseal_secrets(None, 100)).sealed:
            assert step.key_id == SECRET_KEYS[0].partition(":")[0]
    assert _webhook_row(database, webhook.id)[1] == SECRET_KEYS[0].partition(":")[0]
    assert await database.store.webhook_by_hash(hashed) == webhook
    with database.as_owner() as owner:
        owner.execute(
            "update webhooks set sealed_secrets = (select sealed_secrets from webhooks where id = %s) where id = %s",
            [webhook.id, thief.id],
        )
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        robbed = await tx.webhook(thief.id)
    assert robbed is not None
    with pytest.raises(SecretsLocked, match=plugin.id):
        robbed.holding(NOW)


def _webhook_row(database: Database, webhook_id: str) -> tuple[bytes, str]:
    with database.as_owner() as owner:
        row = owner.execute("select sealed_secrets, sealed_by from webhooks where id = %s", [webhook_id]).fetchone()
    assert row is not None
    return row
