"""What an operator sets reaches the policy that bears its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from plugyard.application.platform import Policies
from plugyard.bootstrap.limits import policies
from plugyard.settings import Settings

PLAIN = (
    "health_window_s",
    "rescan_suspends",
    "rehearsal_ms",
    "unused_rights_days",
    "queued_per_tenant",
    "webhook_window_s",
)


@pytest.mark.parametrize("name", PLAIN)
def test_a_setting_changes_the_policy_of_its_name_and_no_other(name: str) -> None:
    settings = Settings(data=Path("/"))
    before = policies(settings)
    value = getattr(settings, name)
    after = policies(replace(settings, **{name: not value if isinstance(value, bool) else value + 7}))
    assert getattr(after, name) != getattr(before, name)
    assert replace(after, **{name: getattr(before, name)}) == before


def test_what_no_setting_names_is_as_the_rules_have_it() -> None:
    made, rules = policies(Settings(data=Path("/"))), Policies()
    for name in ("taken_over_after_s", "key_cache_s", "plugin_cache_s", "token_cache_s", "max_input_depth"):
        assert getattr(made, name) == getattr(rules, name)
