"""Ports and secrets of a stack: decided at its first start, and kept in its folder for the next."""

import base64
import json
import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from plugyard.application.keys import new_secret
from plugyard.bootstrap.keys import write_private

_FILE = "stack.json"
_SEAWEED = ("master", "filer", "volume", "s3", "admin")
BUCKET = "plugyard"


@dataclass(frozen=True)
class Plan:
    """What the parts have to agree on. ``ports`` and ``hosts`` are by name; a part without a host is on loopback."""

    ports: dict[str, int]
    pepper: str
    admin_key: str
    operator_key: str
    secret_key: str
    valkey_password: str
    s3_access_key: str
    s3_secret_key: str
    s3_encryption_key: str
    hosts: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "Plan(...)"

    @classmethod
    def of(cls, folder: Path, numbers: Mapping[str, int], port: int) -> "Plan":
        """That of the folder, or a new one; ``numbers`` says how many there are of each kind that has a port.

        Ports that are missing are chosen among the free ones; ``port`` is the balancer's, 0 a free one.
        """
        file = folder / _FILE
        kept = cls(**json.loads(file.read_text())) if file.exists() else cls._made()
        names = [
            *("nginx", "valkey", "broker"),
            *(f"seaweed {one}{kind}" for one in _SEAWEED for kind in ("", " grpc")),
            *(f"{kind} {number}" for kind, count in numbers.items() for number in range(1, count + 1)),
        ]
        missing = [name for name in names if name not in kept.ports]
        ports = {**kept.ports, **dict(zip(missing, free_ports(len(missing)), strict=True))}
        if port:
            ports["nginx"] = port
        plan = cls(**{**asdict(kept), "ports": ports})
        write_private(file, json.dumps(asdict(plan)))
        return plan

    @classmethod
    def _made(cls) -> "Plan":
        key = f"stack:{base64.b64encode(secrets.token_bytes(32)).decode()}"
        return cls(
            {},
            secrets.token_hex(32),
            new_secret(),
            new_secret(),
            key,
            secrets.token_urlsafe(24),
            "plugyard-stack",
            secrets.token_urlsafe(32),
            secrets.token_hex(32),
        )

    def host(self, name: str) -> str:
        """The address that a part listens on."""
        return self.hosts.get(name, "127.0.0.1")

    def at(self, name: str) -> str:
        """Its address and its port."""
        return f"{self.host(name)}:{self.ports[name]}"

    @property
    def seaweed_ports(self) -> list[str]:
        """The flags that tell SeaweedFS where to listen."""
        return [
            flag
            for name in _SEAWEED
            for flag in (
                f"-{name}.port={self.ports[f'seaweed {name}']}",
                f"-{name}.port.grpc={self.ports[f'seaweed {name} grpc']}",
            )
        ]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on just now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
