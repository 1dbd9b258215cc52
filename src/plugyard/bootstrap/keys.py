"""The secrets of a data folder, and how a file of them is written."""

import base64
import json
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plugyard.application.keys import PREFIX, new_secret

KEYS_FILE = "keys.json"
MINIMUM_KEY_LENGTH = 32


class CannotStart(Exception):
    """The service cannot start; the message says what to do about it."""


@dataclass(frozen=True)
class Keys:
    """The secrets of one data folder: the pepper of all key hashes, the two API keys that the service itself makes, and
    the keys that seal plugins' secrets."""

    pepper: str
    admin: str
    operator: str
    secrets: tuple[str, ...] = ()  # ID:BASE64, the first seals plugins' secrets and all open them

    def __repr__(self) -> str:
        return "Keys(...)"

    @classmethod
    def of(
        cls,
        data: Path,
        admin_key: str | None,
        secret_keys: Sequence[str] = (),
        *,
        operator_key: str | None = None,
        pepper: str | None = None,
        shared: bool = False,
    ) -> "Keys":
        """Those of the folder, made at the first start; what the settings name takes the place of ours.

        Secret keys that the settings name come before those of the folder, which go on opening what they have sealed.
        ``shared`` says that other replicas use the same database: what they agree on is neither made nor kept here.
        """
        file = data / KEYS_FILE
        if shared:
            _require_named(pepper=pepper, operator_key=operator_key, admin_key=admin_key, secret_keys=secret_keys)
        if file.exists() and not shared:
            kept = cls(**json.loads(file.read_text()))
            kept = replace(kept, secrets=tuple(kept.secrets))
        else:
            kept = cls(secrets.token_hex(32), new_secret(), new_secret())
        for setting, key, name in (("--admin-key", admin_key, "admin"), ("--operator-key", operator_key, "operator")):
            if key is not None:
                if not key.startswith(PREFIX) or len(key) < len(PREFIX) + MINIMUM_KEY_LENGTH:
                    raise CannotStart(
                        f"{setting} must be {PREFIX} and at least {MINIMUM_KEY_LENGTH} characters that nobody can guess"
                    )
                kept = replace(kept, admin=key) if name == "admin" else replace(kept, operator=key)
        if pepper is not None:
            if re.fullmatch("[0-9a-f]{64}", pepper) is None:
                raise CannotStart("--pepper must be 64 hexadecimal digits, as `openssl rand -hex 32` makes them")
            kept = replace(kept, pepper=pepper)
        if not kept.secrets and not secret_keys:
            kept = replace(kept, secrets=(f"made-at-first-start:{base64.b64encode(secrets.token_bytes(32)).decode()}",))
        if not shared:
            write_private(file, json.dumps(kept.__dict__))
        named = tuple(dict.fromkeys(one.strip() for one in secret_keys))
        return replace(kept, secrets=(*named, *(one for one in kept.secrets if one not in named)))


def _require_named(**values: object) -> None:
    missing = [f"--{name.replace('_', '-')}" for name, value in values.items() if not value]
    if missing:
        raise CannotStart(
            "with --database-url every replica needs the same secrets, so none are made here; missing: "
            f"{', '.join(missing)} (better in the environment, as PLUGYARD_...)"
        )


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
