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

_OVERFLOW_ID = 65534
"""The kernel's own "nobody" (proc(5), /proc/sys/kernel/overflowuid), for systems without a passwd entry."""


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
    """The account for the cluster at `cluster`: its owner when it exists, else `nobody` for root, else oneself."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switched=False)
    if cluster.exists():
        owner = cluster.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, switched=True)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(_OVERFLOW_ID, _OVERFLOW_ID, switched=True)
    return Account(entry.pw_uid, entry.pw_gid, switched=True)
