"""How a service begins and ends, as far as that shows without its parts."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugyard.bootstrap import CannotStart, Service, assembly
from plugyard.bootstrap.foresight import check_profile
from plugyard.infrastructure.embedded.server import lock_folder
from plugyard.settings import Settings


async def test_a_service_on_another_ones_data_folder_is_refused_with_the_database_elsewhere_too(tmp_path: Path) -> None:
    lock_folder(tmp_path)
    service = Service(Settings(data=tmp_path, port=0, database_url="postgresql://127.0.0.1:1/none"))
    with pytest.raises(CannotStart, match="choose another folder with --data"):
        await service.start()
    await service.stop()


NAMED = {
    "database_url": "postgresql://127.0.0.1:1/none",
    "objects_url": "s3://bucket",
    "cache_url": "valkey://127.0.0.1:1",
    "kafka_url": "kafka:9092",
}


@pytest.mark.parametrize("missing", NAMED)
async def test_in_production_no_part_is_embedded_by_oversight(tmp_path: Path, missing: str) -> None:
    named: Any = {name: value for name, value in NAMED.items() if name != missing}
    flag = "--" + missing.replace("_", "-")
    with pytest.raises(CannotStart, match=flag) as refused:
        await Service(Settings(data=tmp_path / "data", profile="production", **named)).start()
    assert not any("--" + name.replace("_", "-") in str(refused.value) for name in named)
    assert not (tmp_path / "data").exists(), "nothing was made"
    check_profile(Settings(profile="embedded", **named))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cache_url": "http://:hidden@127.0.0.1:1"}, "--cache-url: it must begin with redis://"),
        ({"cache_url": "valkey://:hidden@127.0.0.1:1/cache"}, "--cache-url: .* the number of a database"),
        ({"objects_url": "https://bucket"}, "s3://bucket/prefix"),
        ({"objects_url": "s3://bucket", "objects_encryption": "rot13"}, "write AES256"),
        ({"objects_url": "s3://bucket", "objects_access_key_id": "a"}, "belong together"),
        ({"kafka_url": "nonsense"}, "the settings of Kafka"),
        ({"kafka_inbox_topic": "shop"}, "--kafka-inbox-topic needs brokers"),
        ({"secret_keys": ("a:short",)}, "--secret-keys"),
    ],
)
async def test_a_slip_in_the_settings_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], says: str
) -> None:
    started: list[str] = []
    for part in ("_start_postgres", "_start_sandbox", "_start_gate"):
        monkeypatch.setattr(Service, part, lambda *_, part=part: started.append(part))
    service = Service(Settings(data=tmp_path, port=0, **wrong))
    with pytest.raises(CannotStart, match=says) as refused:
        await service.start()
    assert "hidden" not in str(refused.value)
    await service.stop()
    assert started == []


def test_in_production_relays_elsewhere_stand_for_kafka() -> None:
    named: Any = {name: value for name, value in NAMED.items() if name != "kafka_url"}
    check_profile(Settings(profile="production", relay_elsewhere=True, **named))
    check_profile(Settings(profile="production", **NAMED))  # type: ignore[arg-type]


async def test_a_service_says_that_it_is_not_ready_before_any_part_of_it_ends(tmp_path: Path) -> None:
    service, order = Service(Settings(data=tmp_path)), list[str]()
    service._parts.callback(order.append, "a part has ended")
    service._drain = lambda: order.append("not ready")
    await service.stop()
    assert order == ["not ready", "a part has ended"]


@pytest.mark.parametrize("kafka_url", [None, "kafka:9092"])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_events_are_forgotten_by_age_only_where_no_relay_will_carry_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kafka_url: str | None, elsewhere: bool
) -> None:
    done: list[str] = []

    def noted(name: str) -> Any:
        async def do(*_: object) -> int:
            done.append(name)
            return 0

        return do

    for name in ("finish_deletions", "seal_what_is_plain", "sweep_orphans", "drop_data"):
        monkeypatch.setattr(assembly, name, noted(name))
    store = SimpleNamespace(**{name: noted(name) for name in ("ensure_partitions", "clean_up", "forget_events")})
    assembled: Any = SimpleNamespace(platform=None, store=store)
    settings = replace(Settings(data=tmp_path), kafka_url=kafka_url, relay_elsewhere=elsewhere)
    await assembly.tidy(assembled, settings)
    assert ("forget_events" in done) == (kafka_url is None and not elsewhere)
