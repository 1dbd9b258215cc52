"""A service that takes the tokens of a real identity provider: the npm package oidc-provider, on loopback."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import reachable_folder, start_service

AUDIENCE = "https://plugins.acme.example"
_FILES = Path(__file__).parent / "provider"
_BIN = Path(sys.executable).parent


@dataclass
class Provider:
    """The provider's process and its address."""

    process: "subprocess.Popen[str]"
    url: str

    def token(self) -> str:
        """A new access token by client credentials (RFC 6749, 4.4)."""
        answer = httpx.post(
            f"{self.url}/token",
            data={"grant_type": "client_credentials", "scope": "run", "resource": AUDIENCE},
            auth=("caller", "a%20secret%20of%20the%20tests%20alone"),
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one stays published."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("rotate\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "rotated"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    folder = Path(tempfile.mkdtemp(prefix="plugyard-oidc-"))
    for name in ("package.json", "server.mjs"):
        shutil.copy(_FILES / name, folder)
    environment = {**os.environ, "PATH": f"{_BIN}:{os.environ['PATH']}"}
    command = [str(_BIN / "npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
    subprocess.run(command, cwd=folder, check=True, env=environment, capture_output=True, timeout=240)
    process = subprocess.Popen(
        [str(_BIN / "node"), "server.mjs"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Provider(process, process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait(10)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_the_tokens_of_a_real_provider_are_taken_and_its_keys_may_change(provider: Provider) -> None:
    folder = reachable_folder()
    running = start_service(
        folder, "--oidc-issuer", provider.url, "--oidc-audience", AUDIENCE, "--oidc-refresh-pause-s", "0.01"
    )
    try:
        with running.client(provider.token()) as client:
            me = client.get("/api/v1/me").json()
            assert (me["actor"], me["role"]) == ("user:caller", "developer")
            assert client.get("/api/v1/plugins").status_code == 200
            assert client.get("/api/v1/keys").status_code == 403
        provider.rotate()
        with running.client(provider.token()) as client:
            assert client.get("/api/v1/me").status_code == 200
        with running.client(provider.token()[:-8] + "AAAAAAAA") as client:
            assert client.get("/api/v1/me").status_code == 401
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)
