"""Where the brokers are, how they are spoken to and on which topic, as `bootstrap` read it from the settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Security = Literal["plaintext", "tls", "sasl-plaintext", "sasl-tls"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_PROTOCOLS = {"plaintext": "plaintext", "tls": "ssl", "sasl-plaintext": "sasl_plaintext", "sasl-tls": "sasl_ssl"}
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})")
# Kafka's own rule for the names of topics, less what the name of the dead letters' topic adds.
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,200}")
_LARGEST_PORT = 65_535
_LOOPBACK = ("127.", "localhost:", "[::1]:")
DEAD_LETTERS = ".dead-letters"


@dataclass(frozen=True)
class KafkaSettings:
    """Brokers, a topic and the way there. Neither the password nor that of the key is ever shown.

    Raises `ValueError` with a sentence where the parts do not belong together; it repeats no secret.
    """

    servers: str
    topic: str = "plugyard.events"
    source: str = "/plugyard"
    security: Security = "plaintext"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for server in self.servers.split(","):
            found = _SERVER.fullmatch(server.strip())
            if found is None or not 0 < int(found[1]) <= _LARGEST_PORT:
                # What stands there may hold credentials, for people write URLs where hosts are asked for.
                raise ValueError("write the brokers as host:port, and commas between them")
        if _TOPIC.fullmatch(self.topic) is None or self.topic in (".", ".."):
            raise ValueError("a topic's name is made of letters, digits, dots, dashes and underscores, at most 200")
        if not self.source or not self.source.isprintable() or " " in self.source:
            raise ValueError("the source of the events is a URI, absolute or relative")
        if self.security.startswith("sasl") != (self.username is not None and self.password is not None):
            raise ValueError("a user and a password belong to the security sasl-tls or sasl-plaintext, and to no other")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a certificate and its key belong together")
        if not self.security.endswith("tls") and (self.ca or self.certificate):
            raise ValueError("certificates belong to the security tls or sasl-tls")
        for file in (self.ca, self.certificate, self.key):
            if file is not None and not file.is_file():
                raise ValueError(f"there is no file {file}")

    @property
    def dead_letters(self) -> str:
        """The topic for what could not be sent to the topic itself, or not be taken from it."""
        return self.topic + DEAD_LETTERS

    @property
    def in_the_clear(self) -> bool:
        """Whether what is sent can be read on the way: without TLS, and not to this machine."""
        servers = (server.strip() for server in self.servers.split(","))
        return not self.security.endswith("tls") and not all(server.startswith(_LOOPBACK) for server in servers)

    def client(self) -> dict[str, Any]:
        """What every client of librdkafka is configured with. It holds secrets, so it is never logged.

        Source: librdkafka, CONFIGURATION.md.
        """
        config: dict[str, Any] = {
            "bootstrap.servers": self.servers,
            "security.protocol": _PROTOCOLS[self.security],
            "client.id": "plugyard",
            # What is to be said of the brokers, this service says in its own log.
            "log_level": 0,
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 1_000,
            "socket.keepalive.enable": True,
        }
        if self.username is not None:
            config |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        files = {
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
        }
        config |= {name: str(file) for name, file in files.items() if file is not None}
        if self.key_password is not None:
            config["ssl.key.password"] = self.key_password
        return config
