"""The secrets of a data folder, and how a file of them is written."""

import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from plugyard.application.keys import PREFIX, new_secret

KEYS_FILE = "keys.json"
MINIMUM_KEY_LENGTH = 32


class CannotStart(Exception):
    """The service cannot start; the message says what to do about it."""


@dataclass(frozen=True)
class Keys:
    """The secrets of one data folder: the pepper of all key hashes, and the two keys that the service itself makes."""

    pepper: str
    admin: str
    operator: str

    def __repr__(self) -> str:
        return "Keys(...)"

    @classmethod
    def of(cls, data: Path, admin_key: str | None) -> "Keys":
        """Those of the folder, made at the first start; an admin key that the settings name takes the place of ours."""
        file = data / KEYS_FILE
        if file.exists():
            kept = cls(**json.loads(file.read_text()))
        else:
            kept = cls(secrets.token_hex(32), new_secret(), new_secret())
        if admin_key is not None:
            if not admin_key.startswith(PREFIX) or len(admin_key) < len(PREFIX) + MINIMUM_KEY_LENGTH:
                raise CannotStart(
                    f"--admin-key must be {PREFIX} and at least {MINIMUM_KEY_LENGTH} characters that nobody can guess"
                )
            kept = cls(kept.pepper, admin_key, kept.operator)
        write_private(file, json.dumps(kept.__dict__))
        return kept


def write_private(file: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w") as open_file:
            open_file.write(text)
            open_file.flush()
            os.fsync(open_file.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
