"""What is told of brokers that are away, and how often."""

from __future__ import annotations

from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from plugyard.infrastructure.relay.trouble import Trouble, said


def refused(port: int, measured: str) -> KafkaError:
    text = f"127.0.0.1:{port}/bootstrap: Connect to ipv4#127.0.0.1:{port} failed: Connection refused{measured}"
    return KafkaError(KafkaError._TRANSPORT, text)


def test_what_was_measured_of_a_try_is_no_part_of_the_reason() -> None:
    wanted = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused"
    assert said(refused(1, " (after 0ms in state CONNECT)")) == wanted
    assert said(refused(1, " (after 17ms in state CONNECT, 30 identical error(s) suppressed)")) == wanted
    assert said(KafkaError(KafkaError._AUTHENTICATION, "Auth (of plugyard) failed")) == "Auth (of plugyard) failed"


def test_the_brokers_of_a_cluster_are_each_told_of_once_until_all_is_well() -> None:
    trouble = Trouble("events are not relayed", topic="plugyard.events")
    assert trouble.now
    with capture_logs() as told:
        for took in range(5):
            for port in (1, 2, 3):
                trouble.note(said(refused(port, f" (after {took}ms in state CONNECT)")))
    assert [line["reason"] for line in told] == [said(refused(port, "")) for port in (1, 2, 3)]
    assert {(line["event"], line["topic"]) for line in told} == {("events are not relayed", "plugyard.events")}
    assert trouble.now == said(refused(3, ""))
    trouble.over()
    assert not trouble.now
    with capture_logs() as told:
        trouble.note(said(refused(2, "")))
    assert len(told) == 1
