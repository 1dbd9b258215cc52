"""A plugin moves only as its table says, and every move tells the event that it caused."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.errors import WrongState
from plugyard.domain.events import EventType
from plugyard.domain.health import Health, HealthStatus
from plugyard.domain.manifest import Manifest
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import (
    EVENT_OF,
    TRANSITIONS,
    Plugin,
    PluginState,
    PluginVersion,
    Transition,
    after,
    allowed,
)
from plugyard.domain.report import Report
from tests.memory.chance import START
from tests.memory.world import manifest

GRANTS = (Permission(Service.CACHE),)
INTERNAL = {Transition.VALIDATE, Transition.REJECT, Transition.QUARANTINE, Transition.SUSPEND}
NEW = Plugin("p", "t", "greeter", PluginState.PENDING, "v1", START, START)
MOVES = {
    Transition.VALIDATE: lambda plugin, at: plugin.validated(at),
    Transition.REJECT: lambda plugin, at: plugin.rejected(at),
    Transition.INSTALL: lambda plugin, at: plugin.installed(GRANTS, at),
    Transition.ACTIVATE: lambda plugin, at: plugin.activated(at),
    Transition.DEACTIVATE: lambda plugin, at: plugin.deactivated(at),
    Transition.SUSPEND: lambda plugin, at: plugin.suspended("it failed", at),
    Transition.UNINSTALL: lambda plugin, at: plugin.uninstalled(at),
    Transition.UPGRADE: lambda plugin, at: plugin.upgraded("v2", GRANTS, at),
    Transition.ROLLBACK: lambda plugin, at: plugin.rolled_back("v1", GRANTS, at),
    Transition.CONFIGURE: lambda plugin, at: plugin.configured({"a": 1}, {}, at),
}


@given(st.lists(st.sampled_from(list(MOVES)), max_size=30))
def test_no_sequence_of_transitions_leaves_the_table(asked: list[Transition]) -> None:
    plugin, at = NEW, START
    for transition in asked:
        at += timedelta(seconds=1)
        before = plugin
        if transition not in TRANSITIONS[before.state]:
            with pytest.raises(WrongState) as caught:
                MOVES[transition](plugin, at)
            assert caught.value.allowed == allowed(before.state)
            continue
        plugin, happened = MOVES[transition](plugin, at)
        assert plugin.state is (TRANSITIONS[before.state][transition] or before.state)
        assert plugin.updated_at == at
        assert happened is EVENT_OF[transition]
        assert (plugin.id, plugin.tenant_id, plugin.name) == (NEW.id, NEW.tenant_id, NEW.name)
        assert (plugin.suspended_because is not None) is (plugin.state is PluginState.SUSPENDED) or (
            plugin.state is PluginState.UNINSTALLED
        )


@pytest.mark.parametrize("state", list(PluginState))
@pytest.mark.parametrize("transition", list(Transition))
def test_a_wrong_state_names_the_state_and_what_is_allowed(state: PluginState, transition: Transition) -> None:
    if transition in TRANSITIONS[state]:
        assert after(state, transition) in PluginState
        return
    with pytest.raises(WrongState) as caught:
        after(state, transition)
    assert caught.value.state == state.value
    assert caught.value.action == transition.value
    assert all(word in caught.value.message for word in (*caught.value.allowed, state.value))


@pytest.mark.parametrize("state", list(PluginState))
def test_what_is_allowed_holds_only_words_of_the_api(state: PluginState) -> None:
    assert set(allowed(state)) == {one.value for one in TRANSITIONS[state] if one not in INTERNAL}


def test_an_end_allows_nothing() -> None:
    assert allowed(PluginState.UNINSTALLED) == ()
    with pytest.raises(WrongState, match="Allowed now: nothing"):
        replace(NEW, state=PluginState.UNINSTALLED).check(Transition.ACTIVATE)


def test_a_rejected_plugin_can_only_leave_or_be_mended_by_a_good_version() -> None:
    assert allowed(PluginState.REJECTED) == ("uninstall",)
    mended, happened = replace(NEW, state=PluginState.REJECTED).validated(NEW.created_at, "another-version")
    assert (mended.state, mended.version_id) == (PluginState.VALIDATED, "another-version")
    assert happened is EventType.PLUGIN_VALIDATED


@pytest.mark.parametrize("state", [one for one in PluginState if one is not PluginState.ACTIVE])
def test_only_an_active_plugin_executes(state: PluginState) -> None:
    assert Transition.EXECUTE in TRANSITIONS[PluginState.ACTIVE]
    with pytest.raises(WrongState):
        replace(NEW, state=state).check(Transition.EXECUTE)


def test_uninstalling_drops_grants_and_secrets() -> None:
    plugin = replace(NEW, state=PluginState.ACTIVE, grants=GRANTS, secrets={"token": "s"}, configuration={"a": 1})
    gone, _ = plugin.uninstalled(START)
    assert (gone.grants, gone.secrets, gone.configuration) == ((), {}, {"a": 1})


def test_the_first_consent_is_remembered_when_grants_change() -> None:
    installed, _ = replace(NEW, state=PluginState.VALIDATED).installed(GRANTS, START)
    again, _ = installed.installed((), START + timedelta(days=1))
    assert (again.installed_at, again.grants) == (START, ())


def test_an_upgrade_remembers_the_version_before() -> None:
    moved, _ = replace(NEW, state=PluginState.ACTIVE).upgraded("v2", GRANTS, START)
    assert (moved.version_id, moved.previous_version_id, moved.grants) == ("v2", "v1", GRANTS)


def test_a_newer_health_changes_nothing_else() -> None:
    health = Health(HealthStatus.HEALTHY, 100, START)
    assert replace(NEW.with_health(health), health=NEW.health) == NEW


def test_a_version_tells_its_number_and_its_functions() -> None:
    version = PluginVersion("v", "t", "p", Manifest.from_document(manifest()), "d", Report(), ("greet",), START)
    assert (version.number, version.functions) == ("1.0.0", ("greet",))


def test_configuring_keeps_plain_values_and_secrets_apart() -> None:
    configured, happened = replace(NEW, state=PluginState.ACTIVE).configured({"url": "u"}, {"token": "t"}, START)
    assert (configured.configuration, configured.secrets) == ({"url": "u"}, {"token": "t"})
    assert happened is EVENT_OF[Transition.CONFIGURE]
