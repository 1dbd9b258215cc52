"""Where the databases are, and as whom each is used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Urls:
    """They hold passwords, so they are never logged.

    `owner_url` migrates, and is missing where somebody else does; `service_url` serves, bound by row-level security;
    `keeper_url` makes plugins' schemas in a database of their own.
    """

    owner_url: str | None
    service_url: str
    keeper_url: str

    def __repr__(self) -> str:
        return "Urls(...)"

    @property
    def service_role(self) -> str:
        """The role that the service connects as."""
        # Imported here, because starting an embedded server has no need of the client library.
        from psycopg.conninfo import conninfo_to_dict

        return str(conninfo_to_dict(self.service_url).get("user", ""))
