"""Where the server is: the URL of the setting, read strictly, so that a slip is told at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url

_SCHEMES = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss", "unix": "unix"}
_OPTIONS = frozenset(
    {"db", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)


class BadAddress(Exception):
    """The URL cannot be read; the message says why and holds no password."""


class Address:
    """A server's address. ``shown`` names it without user and password; raises ``BadAddress``."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise BadAddress("it is no URL; is the port a number?") from None
        if parts.scheme not in _SCHEMES:
            raise BadAddress("it must begin with redis://, rediss://, valkey://, valkeys:// or unix://")
        if parts.scheme != "unix" and not parts.hostname:
            raise BadAddress("it names no host")
        if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdigit():
            raise BadAddress("what follows the host must be the number of a database, as /0")
        try:
            found: dict[str, Any] = dict(parse_url(_SCHEMES[parts.scheme] + url[len(parts.scheme) :]))
        except ValueError as error:
            raise BadAddress(str(error)) from None
        kind: Any = found.pop("connection_class", Connection)
        unknown = found.keys() - _OPTIONS - {"host", "port", "path", "username", "password"}
        if unknown:
            raise BadAddress(f"the option {min(unknown)} is not known; there are {', '.join(sorted(_OPTIONS))}")
        self.shown = (
            f"{parts.scheme}://{parts.hostname}:{port or 6379}" if kind is not _UNIX else f"unix://{parts.path}"
        )
        self._make: Callable[[], Any] = lambda: kind(
            **found,
            client_name="plugyard",
            driver_info=None,
            protocol=2,
            # The link keeps time itself, for whole commands and not for each read.
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        try:
            self._make()
        except Exception as error:  # a TLS file that is not there, an option of the wrong kind
            raise BadAddress(str(error)) from error

    def __repr__(self) -> str:
        return f"Address({self.shown})"

    def connection(self) -> Any:
        """A connection that is not open yet."""
        return self._make()


_UNIX = UnixDomainSocketConnection
__all__ = ["Address", "BadAddress", "SSLConnection"]
