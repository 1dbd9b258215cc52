"""Where a setting comes from: a flag wins over a variable, a variable over the file, the file over the default."""

from pathlib import Path

import pytest
from cyclopts import App
from cyclopts.config import Env, Toml

from plugyard.cli import operator
from plugyard.cli.failure import Failure
from plugyard.settings import CONFIG_FILE, ENVIRONMENT_PREFIX, Settings


@pytest.fixture
def app() -> App:
    app = App(
        config=[
            Env(ENVIRONMENT_PREFIX, command=False),
            Toml(CONFIG_FILE, use_commands_as_keys=False, allow_unknown=True),
        ],
        result_action="return_value",
    )

    @app.command
    def show(*, settings: Settings = operator.DEFAULT_SETTINGS) -> Settings:
        return settings

    return app


def test_each_source_wins_over_those_behind_it(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert app(["show"]) == Settings()
    (tmp_path / CONFIG_FILE).write_text('port = 1\nhost = "0.0.0.0"\nidle_s = 3\n')
    monkeypatch.setenv("PLUGYARD_PORT", "2")
    monkeypatch.setenv("PLUGYARD_HOST", "127.0.0.2")
    settings = app(["show", "--port", "3"])
    assert (settings.port, settings.host, settings.idle_s) == (3, "127.0.0.2", 3.0)


@pytest.mark.parametrize(
    "words", [["--port", "x"], ["--port", "65536"], ["--spares", "-1"], ["--suspend-ratio", "1.5"]]
)
def test_a_value_that_cannot_be_is_refused(app: App, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app(["show", *words])
    told = capsys.readouterr()
    assert words[0] in told.out + told.err


def test_a_misspelt_line_of_the_file_is_named_with_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    operator.refuse_unknown_settings()
    (tmp_path / CONFIG_FILE).write_text("max_memry_mb = 1\n")
    with pytest.raises(Failure, match="did you mean max_memory_mb"):
        operator.refuse_unknown_settings()
    (tmp_path / CONFIG_FILE).write_text("port = \n")
    with pytest.raises(Failure, match="cannot be read"):
        operator.refuse_unknown_settings()


@pytest.mark.parametrize(
    "variable", ["PLUGYARD_MAX_MEMRY_MB", "PLUGYARD_RATE_READS_PER_TENNANT", "PLUGYARD_KAFKA_URLS"]
)
def test_a_misspelt_variable_is_named_with_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.chdir(tmp_path)
    # The client's own, and what Kubernetes says of a service of this name.
    for other in ("PLUGYARD_KEY", "PLUGYARD_SERVICE_HOST", "PLUGYARD_PORT_8787_TCP_ADDR"):
        monkeypatch.setenv(other, "x")
    operator.refuse_unknown_settings()
    monkeypatch.setenv(variable, "1")
    with pytest.raises(Failure, match=f"{variable} is no setting; did you mean PLUGYARD_"):
        operator.refuse_unknown_settings()
