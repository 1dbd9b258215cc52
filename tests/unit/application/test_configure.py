"""A configuration is patched, checked against the plugin's schema, and its secrets never come out."""

import json

import pytest

from plugyard.application.configure import configure
from plugyard.domain.errors import InvalidInput, WrongState
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller
from tests.memory.world import World, manifest

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "currency": {"type": "string", "default": "EUR", "pattern": "^[A-Z]{3}$"},
        "mail": {"type": "object", "properties": {"to": {"type": "string"}, "cc": {"type": "string"}}},
        "token": {"type": "string", "writeOnly": True},
    },
}


async def configurable(world: World, admin: Caller) -> str:
    return (await world.active(admin, manifest(configuration=SCHEMA))).plugin.id


async def test_patches_merge_and_null_removes(world: World, admin: Caller) -> None:
    plugin_id = await configurable(world, admin)
    await configure(world.platform, admin, plugin_id, {"currency": "USD", "mail": {"to": "ada", "cc": "bob"}})
    view = await configure(world.platform, admin, plugin_id, {"currency": None, "mail": {"cc": None}})
    assert view.plugin.configuration == {"mail": {"to": "ada"}}
    assert await world.fetch(admin, plugin_id) == view


async def test_the_event_and_the_trail_name_what_changed_and_no_value(world: World, admin: Caller) -> None:
    plugin_id = await configurable(world, admin)
    await configure(world.platform, admin, plugin_id, {"token": "s3cret", "currency": "USD"})
    assert world.events[-1].type is EventType.PLUGIN_CONFIGURED
    assert world.events[-1].data["changed"] == ["currency", "token"]
    assert world.store.tables.audit[-1].detail == {"changed": ["currency", "token"]}
    told = json.dumps([[one.data for one in world.events], [dict(one.detail) for one in world.store.tables.audit]])
    assert "s3cret" not in told
    assert "USD" not in told


async def test_a_secret_is_kept_apart_and_survives_a_patch_that_does_not_name_it(world: World, admin: Caller) -> None:
    plugin_id = await configurable(world, admin)
    await configure(world.platform, admin, plugin_id, {"token": "s3cret"})
    view = await configure(world.platform, admin, plugin_id, {"currency": "USD"})
    assert view.plugin.configuration == {"currency": "USD"}
    assert view.plugin.secrets == {"token": "s3cret"}


async def test_the_plugin_sees_defaults_and_secrets(world: World, admin: Caller) -> None:
    plugin_id = await configurable(world, admin)
    view = await configure(world.platform, admin, plugin_id, {"token": "s3cret"})
    await world.execute(admin, view)
    context = json.loads(world.executor.invocations[-1].context)
    assert context["configuration"] == {"currency": "EUR", "token": "s3cret"}


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [({"currency": "euro"}, "/currency"), ({"mail": {"to": 3}}, "/mail/to"), ({"colour": "red"}, "")],
)
async def test_what_does_not_fit_is_named_by_its_pointer_and_changes_nothing(
    world: World, admin: Caller, patch: dict[str, object], pointer: str
) -> None:
    plugin_id = await configurable(world, admin)
    before = world.store.tables.copy()
    with pytest.raises(InvalidInput) as caught:
        await configure(world.platform, admin, plugin_id, patch)
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert world.store.tables == before


async def test_a_plugin_without_a_schema_takes_no_configuration(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    with pytest.raises(InvalidInput, match="takes no configuration"):
        await configure(world.platform, admin, view.plugin.id, {"a": 1})


async def test_a_plugin_that_nobody_consented_to_cannot_be_configured(world: World, admin: Caller) -> None:
    document = manifest(configuration=SCHEMA, security={"permissions": ["database"]})
    plugin_id = (await world.upload(admin, document)).view.plugin.id
    with pytest.raises(WrongState):
        await configure(world.platform, admin, plugin_id, {"currency": "USD"})
