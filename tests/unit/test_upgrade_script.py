"""The script of the upgrade says what it needs, and its audit finds what is lost and what is there twice."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.upgrade import __main__ as script
from tests.upgrade.audit import Found, judged
from tests.upgrade.checkouts import Checkout
from tests.upgrade.load import Answer, Ledger
from tests.upgrade.rolling import Report, Step


def _ledger() -> Ledger:
    ledger = Ledger()
    ledger.executed = {"r1": "e1", "r2": "e2"}
    ledger.queued = {"r3": "e3"}
    ledger.told = {"r2": "e2"}
    ledger.uploaded = {"1.0.0": "sha256:abc"}
    ledger.repeated = {"r4"}
    return ledger


def _found() -> Found:
    """All of it once; `e4` heard the event that `e2` published."""
    records = [("e1", "r1", "succeeded"), ("e2", "r2", "succeeded"), ("e3", "r3", "succeeded"), ("e4", "e2", "failed")]
    return Found(
        records, {}, Counter(["e1", "e2", "e3", "e4"]), Counter(["e2"]), {"1.0.0": "abc"}, {"abc"}, len(records)
    )


def test_what_is_there_once_is_well() -> None:
    verdict = judged(_ledger(), _found())
    assert (verdict.lost, verdict.twice) == ([], [])
    assert verdict.looked_for == {
        "executions": 2,
        "queued executions": 1,
        "uploads": 1,
        "events of ends": 3,
        "events published": 1,
    }


def test_whatever_is_missing_is_lost() -> None:
    verdict = judged(_ledger(), Found())
    assert verdict.twice == []
    assert {" ".join(one.split()[:-1]) for one in verdict.lost} == {
        "execution",
        "execution of request",
        "event of the end of",
        "queued execution e3 did not",
        "event that e2",
        "what heard the event of",
        "upload",
        "bytes of upload",
    }
    found = _found()
    found.waiting = {"e3": "parked"}
    assert judged(_ledger(), found).lost == ["queued execution e3 is parked"]


def test_whatever_is_there_again_is_there_twice() -> None:
    found = _found()
    found.records += [("e5", "r1", "succeeded"), ("e6", "r4", "succeeded"), ("e7", "e2", "succeeded")]
    found.ends["e3"] += 1
    found.told["e2"] += 1
    found.counted = 9
    verdict = judged(_ledger(), found)
    assert verdict.lost == []
    assert sorted(verdict.twice) == [
        "analytics count 9 executions, and 7 have ended",
        "event of the end of e3",
        "event that e2 published",
        "execution of request r1",
        "execution of the repeated request r4",
        "what heard the event of e2",
    ]


def test_of_two_requests_under_one_key_one_is_carried_out() -> None:
    ledger, found = _ledger(), _found()
    ledger.second = {"r1": "r5"}
    found.records[0] = ("e1", "r5", "succeeded")
    assert judged(ledger, found).good
    found.records.append(("e5", "r1", "succeeded"))
    found.counted += 1
    assert judged(ledger, found).twice == ["execution of request r1"]


def test_a_step_counts_what_was_answered_in_it() -> None:
    ledger = Ledger()
    ledger.answers = [Answer(1, 0.5, "queue", ""), Answer(2, 0.1, "upload", "unavailable"), Answer(3, 9.0, "queue", "")]
    assert ledger.between(1, 3) == (2, Counter({"unavailable": 1}), 0.5, "queue")
    step = Step("a step", 2, Counter({"unavailable": 1}), 0.5, "queue", 3.0)
    assert "| a step | 2 | 1 `unavailable` | 0.5 s (queue) | 3 s |" in script.table(Report([step]))
    code = Checkout(Path("/old"), "c", "0013", ())
    told = json.loads(script.document(Report([step]), code, code))
    assert told["old"] == {"commit": "c", "revision": "0013"}
    assert (told["held"], told["steps"][0]["failed"]) == (True, {"unavailable": 1})


def test_one_failed_request_or_one_wrong_step_is_enough() -> None:
    assert Report([Step("a step")]).held
    assert not Report([Step("a step", wrong=["did not end"])]).held
    assert not Report([Step("a step")], failures=["queue r1: 503"]).held
    assert not Report([Step("a step")], judged(_ledger(), Found())).held


def test_what_is_no_checkout_of_older_code_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main([])
    assert ended.value.code == 2
    assert "required: --old" in capsys.readouterr().err

    def said(old: Path) -> str:
        assert script.main(["--old", str(old)]) == 2
        return capsys.readouterr().err

    assert "is no checkout of plugyard; git worktree add" in said(tmp_path)
    migrations = tmp_path / "src/plugyard/infrastructure/postgres/migrations"
    migrations.mkdir(parents=True)
    (migrations / "__init__.py").touch()
    assert "uv sync) makes it" in said(tmp_path)
    assert "is this very checkout" in said(script.ROOT)
    codes = {tmp_path: Checkout(tmp_path, "c", "0099", ()), script.ROOT: Checkout(script.ROOT, "d", "0014", ("0014",))}
    monkeypatch.setattr(Checkout, "at", codes.__getitem__)
    assert "is at revision 0099, which is newer than this code (0014)" in said(tmp_path)


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script.main(["--help"])
    assert "uv run python -m tests.upgrade --old ../old" in capsys.readouterr().out
