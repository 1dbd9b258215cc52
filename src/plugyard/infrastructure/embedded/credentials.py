"""The passwords of the embedded server's roles, kept for the service's user alone in the data folder. For `server`."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

_FILE = "postgres.secrets"


@dataclass(frozen=True)
class Credentials:
    """`prepared` says that the roles exist in the database with these passwords."""

    superuser: str
    owner: str
    service: str
    keeper: str = ""
    prepared: bool = False

    def __repr__(self) -> str:
        return f"Credentials(prepared={self.prepared})"

    @classmethod
    def load_or_make(cls, data: Path, *, fresh: bool) -> Credentials:
        """The stored ones; new ones, stored before they are used, when the cluster is `fresh`."""
        if not fresh:
            kept = cls(**json.loads((data / _FILE).read_text(encoding="utf-8")))
            if kept.keeper:
                return kept
            # A folder from before plugins had databases: the role is made with this start.
            made = replace(kept, keeper=secrets.token_urlsafe(32), prepared=False)
            made._store(data)
            return made
        made = cls.made()
        made._store(data)
        return made

    @classmethod
    def made(cls) -> Credentials:
        """New ones, stored nowhere."""
        superuser, owner, service, keeper = (secrets.token_urlsafe(32) for _ in range(4))
        return cls(superuser, owner, service, keeper)

    def mark_prepared(self, data: Path) -> None:
        """Notes that later starts need not look at the roles again."""
        replace(self, prepared=True)._store(data)

    def _store(self, data: Path) -> None:
        draft = data / f"{_FILE}.new"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(data / _FILE)
