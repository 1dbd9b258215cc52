"""Which system account PostgreSQL runs as, and what that account can reach. Used by `server` and `installation`.

PostgreSQL refuses to run as root. A service that runs as root therefore lends it the account `nobody`, which must be
able to walk to the programs and to the data. No mode of a folder that this service did not make is ever changed.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from plugyard.infrastructure.embedded.errors import EmbeddedPostgresError


@dataclass(frozen=True)
class Account:
    """A user and its group; `switched` says that it is not the one that the service itself runs as."""

    uid: int
    gid: int
    switched: bool

    def can_enter(self, folder: Path) -> bool:
        """Whether this account may walk through every folder from the root down to `folder`, judged by mode bits.

        Access control lists are not looked at: they are rare on such paths, and a wrong answer ends in PostgreSQL's
        own message.
        """
        if not self.switched:
            return True
        return all(self._may_search(part) for part in (folder, *folder.parents) if part.exists())

    def _may_search(self, folder: Path) -> bool:
        info = folder.stat()
        if info.st_uid == self.uid:
            return bool(info.st_mode & stat.S_IXUSR)
        if info.st_gid == self.gid:
            return bool(info.st_mode & stat.S_IXGRP)
        return bool(info.st_mode & stat.S_IXOTH)


def postgres_account(cluster: Path) -> Account:
    """The account for the cluster at `cluster`: its owner when it exists, else `nobody` for root, else oneself.

    Raises `EmbeddedPostgresError` when the system has no entry for it: `initdb` looks its name up and would stop.
    """
    if os.geteuid() != 0:
        _check_named(os.geteuid())
        return Account(os.geteuid(), os.getegid(), switched=False)
    if cluster.exists():
        owner = cluster.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, switched=True)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedPostgresError(
            "PostgreSQL refuses to run as root, and this system has no account `nobody` to run it as. "
            "Run the service as another user, or set a database URL."
        ) from error
    return Account(entry.pw_uid, entry.pw_gid, switched=True)


def _check_named(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL needs an account with a name, and user id {uid} has none on this system. "
            "Give it one, or set a database URL."
        ) from error
