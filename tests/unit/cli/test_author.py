"""What the author's commands make and say, without a service."""

import json
import zipfile
from pathlib import Path

import httpx
import pytest

from plugyard.cli import author
from plugyard.cli.client import Client, told
from plugyard.cli.failure import Failure


@pytest.mark.parametrize("runtime", sorted(author.TEMPLATES))
def test_a_new_plugin_passes_the_gate(runtime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    author.new(tmp_path / "hello", runtime=runtime)
    author.check(tmp_path / "hello", as_json=True)
    said = capsys.readouterr().out
    report = json.loads(said[said.index("{") :])
    assert report["findings"] == []


def test_new_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(Failure, match="not empty"):
        author.new(tmp_path)
    with pytest.raises(Failure, match="no template"):
        author.new(tmp_path / "x", runtime="cobol")


def test_packing_twice_gives_the_same_bytes_and_leaves_rubbish_out(tmp_path: Path) -> None:
    folder = tmp_path / "hello"
    author.new(folder)
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "x.js").write_text("")
    (folder / "main.pyc").write_bytes(b"")
    first = author.packed(folder).read_bytes()
    (folder / "main.py").touch()
    second = author.packed(folder, tmp_path / "again.zip").read_bytes()
    assert first == second
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        assert archive.namelist() == ["main.py", "plugin.json"]
    assert (tmp_path / "hello-1.0.0.zip").exists()


def test_check_tells_every_finding_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plugin.json").write_text('{"metadata": {"name": "X", "version": "1"}}')
    with pytest.raises(SystemExit) as ended:
        author.check(tmp_path)
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "plugin.json#/metadata/name" in said
    assert "plugin.json#/metadata/version" in said
    assert "Mend:" in said


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="there is no file or folder"):
        author.check(tmp_path / "nothing")
    with pytest.raises(Failure, match=r"no plugin\.json"):
        author.pack(tmp_path)
    with pytest.raises(Failure, match="no service runs"):
        Client.find(None, None, tmp_path)


def test_a_problem_is_told_with_its_fields() -> None:
    problem = {
        "title": "Invalid input",
        "detail": "It does not fit.",
        "errors": [{"pointer": "/a", "message": "is no number"}],
    }
    answer = httpx.Response(422, json=problem, request=httpx.Request("GET", "http://service/x"))
    assert told(answer).splitlines() == ["Invalid input (422): It does not fit.", "  /a: is no number"]
    plain = httpx.Response(502, text="<html>", request=httpx.Request("GET", "http://service/x"))
    assert told(plain) == "http://service/x answered 502"


def test_a_key_that_is_kept_here_goes_to_the_service_of_this_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys.json").write_text('{"admin": "plugyard_kept-here", "operator": "plugyard_kept-too"}')
    with pytest.raises(Failure, match="needs a key"):
        Client.find("http://plugins.example.com", None, tmp_path)
    monkeypatch.setattr("plugyard.cli.client.running_url", lambda data: "http://127.0.0.1:8787")
    with pytest.raises(Failure, match="needs a key"):
        Client.find("http://127.0.0.1:8788", None, tmp_path, whose="operator")
    for url in (None, "http://127.0.0.1:8787/"):
        with Client.find(url, None, tmp_path) as client:
            assert client._http.headers["authorization"] == "Bearer plugyard_kept-here"
    with Client.find("http://plugins.example.com", "plugyard_theirs", tmp_path) as client:
        assert client._http.headers["authorization"] == "Bearer plugyard_theirs"
