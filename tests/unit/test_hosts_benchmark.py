"""The benchmark of four hosts says what it needs where that is not there."""

import os

import pytest

from benchmarks import fourhosts, hosts


def test_who_is_not_root_is_told_and_nothing_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[object] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(fourhosts, "_ip", lambda *words: made.append(words))
    assert hosts.main([]) == 2
    assert "need root" in capsys.readouterr().err
    assert made == []


def test_every_part_has_a_host_and_every_host_an_address_of_its_own() -> None:
    assert set(fourhosts.HOST_OF.values()) == set(fourhosts.ADDRESSES)
    assert len({fourhosts.address(host) for host in fourhosts.ADDRESSES}) == 4
