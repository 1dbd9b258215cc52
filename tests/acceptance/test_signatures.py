"""Signed packages in a real service: by the command line, by openssl as the document has it, in another tenant."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_path_of_a_package import package, upload
from tests.conftest import RunningService, reachable_folder, start_service

DOCUMENT = Path(__file__).parents[2] / "docs" / "signatures.md"
DESCRIBED = {"name": "signed", "description": "Adds", "author": "Ada", "category": "utility"}


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    folder = reachable_folder()
    running = start_service(folder)
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _plugyard(service: RunningService, *words: str, key: str | None = None, fails: bool = False) -> str:
    where = ["--url", service.url, "--key", key or service.admin_key]
    local = words[0] in ("keygen", "sign", "pack", "check")
    command = [sys.executable, "-m", "plugyard.cli", *words, *([] if local else where)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def _shown(service: RunningService, *words: str, key: str | None = None) -> Any:
    return json.loads(_plugyard(service, *words, "--json", key=key))


def test_a_key_signs_a_package_that_another_tenant_installs_as_signed(service: RunningService, tmp_path: Path) -> None:
    key_file, packed = tmp_path / "publisher.pem", tmp_path / "signed.zip"
    packed.write_bytes(package(metadata=DESCRIBED))
    made = _shown(service, "keygen", str(key_file))
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert "there already" in _plugyard(service, "keygen", str(key_file), fails=True)
    said = _plugyard(service, "upload", str(packed), "--sign", str(key_file), fails=True)
    assert f"/keyId: no publisher key of this tenant has the id {made['keyId']}" in said
    assert _shown(service, "publisher", "register", str(key_file), "--name", "ci")["id"] == made["keyId"]
    _plugyard(service, "sign", str(packed), "--signing-key", str(key_file))
    said = _plugyard(service, "upload", str(packed), "--signature", f"{packed}.sig", "--activate")
    assert "signed 1.0.0 is active, signed" in said
    with service.client() as admin, service.client(service.operator_key) as operator:
        (plugin,) = [one for one in admin.get("/api/v1/plugins").json()["items"] if one["name"] == "signed"]
        assert (plugin["signed"], plugin["publisher"], plugin["verifiedPublisher"]) == (True, None, False)
        listing = admin.post(f"/api/v1/plugins/{plugin['id']}/publish", json={}).json()
        made_tenant = operator.post("/api/v1/tenants", json={"slug": "installer", "name": "Installer"}).json()
        with service.client(made_tenant["key"]["secret"]) as installer:
            installer.patch("/api/v1/tenant/policy", json={"requireSignature": "always"})
            path = f"/api/v1/plugins/marketplace/{listing['id']}"
            copy = installer.post(path + "/install", json={"activate": True}).json()
            assert (copy["signed"], copy["signature"]["keyId"]) == (True, made["keyId"])
            _plugyard(service, "publisher", "verify", "default", "--name", "Lovelace", key=service.operator_key)
            found = installer.get("/api/v1/plugins/marketplace", params={"q": "signed"}).json()["items"]
            assert [(one["publisher"], one["verifiedPublisher"]) for one in found] == [("Lovelace", True)]
            since = copy["signature"]["acceptedAt"]
            words = ("publisher", "revoke", made["keyId"], "--reason", "it leaked", "--since", since)
            assert _shown(service, *words)["revokedBecause"] == "it leaked"
            now = installer.get(f"/api/v1/plugins/{copy['id']}").json()
            assert (now["signed"], now["signature"]["keyRevokedBecause"]) == (False, "it leaked")
            assert installer.get(path).json()["signed"] is False
            refused = upload(installer, package(metadata={"name": "own"}))
            assert (refused.status_code, refused.json()["code"]) == (403, "signature_required")
    assert "revoked" in _plugyard(service, "publisher", "keys")
    assert "/keyId: the key was revoked" in _plugyard(
        service, "upload", str(packed), "--sign", str(key_file), fails=True
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")
def test_the_documents_way_with_openssl_works(service: RunningService, tmp_path: Path) -> None:
    (script,) = re.findall(r"^```sh openssl\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    (tmp_path / "hello.tar.gz").write_bytes(package(metadata={"name": "by-openssl"}))
    with service.client() as admin:
        tenant_id = admin.get("/api/v1/tenant").json()["id"]
    values = {"URL": service.url, "KEY": service.admin_key, "TENANT_ID": tenant_id}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **values},
        capture_output=True,
        text=True,
        check=True,
    )
    decoder = json.JSONDecoder()
    registered, end = decoder.raw_decode(done.stdout)
    uploaded, _ = decoder.raw_decode(done.stdout[end:].lstrip())
    assert registered["name"] == "release machine"
    assert uploaded["plugin"]["signature"]["keyId"] == registered["id"]
    assert uploaded["plugin"]["signed"] is True


def test_api_keys_are_made_rotated_and_revoked_on_the_command_line(service: RunningService) -> None:
    made = _shown(service, "keys", "create", "delivery", "--days", "90", "--action", "upload")
    assert (made["role"], made["scopes"][0]["actions"]) == ("developer", ["upload"])
    listed = _plugyard(service, "keys", "list")
    assert re.search(rf"{made['id']}  developer  delivery  \(until \S+, never used; narrowed to upload\)", listed)
    rotated = _shown(service, "keys", "rotate", made["id"], "--overlap-hours", "0")
    assert (rotated["succeeds"], rotated["scopes"]) == (made["id"], made["scopes"])
    assert "revoked" in _plugyard(service, "keys", "revoke", rotated["id"])
    with service.client(rotated["secret"]) as gone:
        assert gone.get("/api/v1/me").status_code == 401
    grace = _shown(service, "keys", "create", "Grace", "--operators", key=service.operator_key)
    assert "operator   Grace" in _plugyard(service, "keys", "list", "--operators", key=grace["secret"])
    assert "revoked" in _plugyard(service, "keys", "revoke", grace["id"], "--operators", key=service.operator_key)


def test_findings_of_a_stored_version_are_answered_as_sarif(service: RunningService) -> None:
    with service.client() as admin:
        code = "def run(input, context):\n    return eval(input)\n"
        plugin = upload(admin, package(code, metadata={"name": "as-sarif"})).json()["plugin"]["id"]
        answer = admin.get(f"/api/v1/plugins/{plugin}/versions/1.0.0/sarif")
    assert answer.headers["content-type"] == "application/sarif+json"
    (run,) = answer.json()["runs"]
    found = {one["ruleId"]: one for one in run["results"]}
    assert found["code.eval"]["locations"][0]["physicalLocation"]["region"]["startLine"] == 2
    named = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert named["code.eval"]["shortDescription"]["text"], "the rules' own words are there"
