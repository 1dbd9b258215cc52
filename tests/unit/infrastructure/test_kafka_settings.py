"""What the settings of Kafka make of themselves, what they refuse, and that nothing shows a secret."""

from pathlib import Path
from typing import Any

import pytest

from plugyard.bootstrap.keys import CannotStart
from plugyard.bootstrap.relaying import inbox_settings, kafka_settings, start_inbox
from plugyard.infrastructure.relay.settings import KafkaSettings
from plugyard.settings import Settings

SECRET = "hunter2-hunter2"


def test_what_librdkafka_is_told_of_a_user_and_of_certificates(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("ca", "certificate", "key")}
    for file in files.values():
        file.write_text("PEM")
    kafka = KafkaSettings(
        "a:9093,b:9093", security="sasl-tls", username="u", password=SECRET, key_password="k", **files
    )
    told = kafka.client()
    assert told["bootstrap.servers"] == "a:9093,b:9093"
    assert told["security.protocol"] == "sasl_ssl"
    assert (told["sasl.mechanism"], told["sasl.username"], told["sasl.password"]) == ("SCRAM-SHA-512", "u", SECRET)
    assert told["ssl.ca.location"] == str(files["ca"])
    assert (told["ssl.certificate.location"], told["ssl.key.location"]) == (
        str(files["certificate"]),
        str(files["key"]),
    )
    assert told["ssl.key.password"] == "k"
    assert kafka.dead_letters == "plugyard.events.dead-letters"


def test_without_a_user_and_certificates_nothing_is_said_of_them() -> None:
    told = KafkaSettings("[::1]:9092").client()
    assert told["security.protocol"] == "plaintext"
    assert not [name for name in told if name.startswith(("sasl", "ssl"))]


@pytest.mark.parametrize(
    ("wrong", "because"),
    [
        ({"servers": ""}, "host:port"),
        ({"servers": "kafka://u:hunter2-hunter2@a:9092"}, "host:port"),
        ({"servers": "a:9092,"}, "host:port"),
        ({"servers": "a:0"}, "host:port"),
        ({"servers": "a:99999"}, "host:port"),
        ({"topic": "a b"}, "topic"),
        ({"topic": ".."}, "topic"),
        ({"topic": "t" * 201}, "topic"),
        ({"source": ""}, "source"),
        ({"source": "a b"}, "source"),
        ({"username": "u", "password": SECRET}, "sasl"),
        ({"security": "sasl-tls", "username": "u"}, "sasl"),
        ({"security": "sasl-tls"}, "sasl"),
        ({"security": "tls", "certificate": Path("a")}, "belong together"),
        ({"ca": Path("a")}, "certificates belong"),
        ({"security": "tls", "ca": Path("missing")}, "no file"),
    ],
)
def test_what_does_not_belong_together_is_refused_with_a_sentence_and_no_secret(
    wrong: dict[str, Any], because: str
) -> None:
    with pytest.raises(ValueError, match=because) as refused:
        KafkaSettings(**{"servers": "a:9092", **wrong})
    assert SECRET not in str(refused.value)


def test_only_what_leaves_this_machine_without_tls_is_in_the_clear() -> None:
    assert KafkaSettings("kafka.internal:9092").in_the_clear
    assert KafkaSettings("127.0.0.1:9092,kafka:9092").in_the_clear
    assert not KafkaSettings("127.0.0.1:9092,localhost:9092,[::1]:9092").in_the_clear
    assert not KafkaSettings("kafka.internal:9093", security="tls").in_the_clear


def test_no_secret_is_shown() -> None:
    settings = Settings(
        kafka_url="a:9093",
        kafka_security="sasl-tls",
        kafka_username="u",
        kafka_password=SECRET,
        kafka_key_password=SECRET,
    )
    assert SECRET not in repr(settings) + repr(kafka_settings(settings))


def test_wrong_settings_keep_the_service_from_starting() -> None:
    with pytest.raises(CannotStart, match="the settings of Kafka: write the brokers as host:port"):
        kafka_settings(Settings(kafka_url="nonsense"))


def test_the_inbox_is_a_topic_of_its_own_with_dead_letters_of_its_own() -> None:
    kafka = inbox_settings(Settings(kafka_url="a:9092", kafka_inbox_topic="shop.events"))
    assert (kafka.topic, kafka.dead_letters) == ("shop.events", "shop.events.dead-letters")


def test_who_works_on_nothing_reads_nothing() -> None:
    nobody: Any = None
    for settings in (
        Settings(kafka_url="a:9092"),
        Settings(kafka_url="a:9092", kafka_inbox_topic="t", queue_workers=0),
    ):
        assert start_inbox(settings, nobody, nobody) is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kafka_url": None}, "needs brokers"),
        ({"kafka_inbox_topic": "plugyard.events"}, "platform's own"),
        ({"kafka_inbox_topic": "plugyard.events.dead-letters"}, "platform's own"),
        ({"kafka_topic": "shop.events.dead-letters"}, "platform's own"),
        ({"kafka_inbox_topic": "shop events"}, "--kafka-inbox-topic: a topic's name"),
        ({"kafka_inbox_group": ""}, "must not be empty"),
    ],
)
def test_an_inbox_that_cannot_be_is_refused_at_the_start(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(CannotStart, match=reason):
        inbox_settings(Settings(**{"kafka_url": "a:9092", "kafka_inbox_topic": "shop.events", **settings}))
