"""What the logs hold, and above all what they do not."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from plugyard.infrastructure.logs import configure_logging
from plugyard.infrastructure.telemetry import Telemetry


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def _fail(secret: str) -> None:
    raise RuntimeError("it broke")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_trace_shows_no_local_variables(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(form)
    try:
        _fail("".join(reversed("hsifdrows")))
    except RuntimeError:
        structlog.get_logger("test").exception("failed")
        logging.getLogger("library").exception("failed")
    said = capsys.readouterr().err
    assert said.count("it broke") >= 2
    assert "swordfish" not in said


@pytest.mark.parametrize("form", ["json", "console"])
def test_values_under_the_names_of_secrets_are_masked(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(form)
    structlog.get_logger("test").info("said", Authorization="swordfish", token="swordfish", plain="herring")
    said = capsys.readouterr().err
    assert "swordfish" not in said
    assert "herring" in said


def test_json_logs_are_one_object_a_line_with_what_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    structlog.contextvars.bind_contextvars(requestId="request-1")
    structlog.get_logger("test").info("said", odd={1, 2}, text="line\nbreak")
    structlog.get_logger("test").debug("not said")
    structlog.contextvars.clear_contextvars()
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["requestId"] == "request-1"
    assert json.loads(line)["level"] == "info"


def test_gauges_are_read_at_each_scrape() -> None:
    number = 1.0
    telemetry = Telemetry()
    telemetry.gauge("plugyard_waiting", "How many wait.", lambda: number)
    assert "plugyard_waiting 1.0" in telemetry.exposition()[0].decode()
    number = 2.0
    assert "plugyard_waiting 2.0" in telemetry.exposition()[0].decode()


def test_an_unheard_of_method_makes_no_series_of_its_own() -> None:
    telemetry = Telemetry()
    telemetry.request("BREW", "none", 405, 0.1)
    telemetry.request("STEEP", "none", 405, 0.1)
    counted = telemetry.exposition()[0].decode()
    assert 'count{answered_by="service",method="other",route="none",status="405"} 2.0' in counted
