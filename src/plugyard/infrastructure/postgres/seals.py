"""Seals the secrets of configurations: what the database holds of them opens with a key that it does not have.

AES-256-GCM (NIST SP 800-38D), a fresh nonce of 96 bits for each sealing. Tenant and plugin are part of what is
authenticated, so a row that is copied to another plugin does not open. `bootstrap` makes one `Seals` for the store.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from plugyard.domain.secrets import LockedSecrets

KEY_BYTES = 32
_NONCE_BYTES = 12
_FORM = b"\x01"
"""The first byte of what is sealed: how the rest is to be read."""
_KEY = re.compile(r"([a-z0-9][a-z0-9._-]{0,39}):([A-Za-z0-9+/_-]{43}=?)", re.ASCII)


class BadSecretKey(ValueError):
    """A key cannot be read; the message never holds it."""


class Seals:
    """Seals with the first of its keys, and opens with all of them.

    A key is written ID:BASE64, with 32 bytes behind the colon. Raises `BadSecretKey`.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys: dict[str, AESGCM] = {}
        for place, text in enumerate(keys, 1):
            match = _KEY.fullmatch(text.strip())
            if match is None:
                raise BadSecretKey(f"secret key {place} is not of the form ID:BASE64 with 32 bytes behind the colon")
            name, encoded = match.groups()
            try:
                key = base64.b64decode(encoded.translate(_URL_SAFE).rstrip("=") + "=", validate=True)
            except binascii.Error as error:
                raise BadSecretKey(f"secret key {name!r} is no Base64") from error
            if name in self._keys:
                raise BadSecretKey(f"there are two secret keys {name!r}")
            self._keys[name] = AESGCM(key)
        if not self._keys:
            raise BadSecretKey("there is no secret key")
        self.first = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"Seals({', '.join(self._keys)})"

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys, the one that seals first."""
        return tuple(self._keys)

    def seal(self, tenant_id: str, plugin_id: str, secrets: Mapping[str, Any]) -> tuple[bytes | None, str | None]:
        """What is stored, and the id of the key; nothing where there are no secrets, and locked ones as they were."""
        if isinstance(secrets, LockedSecrets):
            return secrets.sealed, secrets.key_id
        if not secrets:
            return None, None
        nonce = os.urandom(_NONCE_BYTES)
        text = msgspec.json.encode(dict(secrets))
        return _FORM + nonce + self._keys[self.first].encrypt(nonce, text, _bound(tenant_id, plugin_id)), self.first

    def open(self, tenant_id: str, plugin_id: str, sealed: bytes | None, key_id: str | None) -> Mapping[str, Any]:
        """The secrets; `LockedSecrets` where the key is lost, or the bytes are not what was sealed for this plugin."""
        if sealed is None or key_id is None:
            return {}
        key = self._keys.get(key_id)
        if key is None or sealed[:1] != _FORM:
            return LockedSecrets(plugin_id, key_id, sealed)
        try:
            text = key.decrypt(sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], _bound(tenant_id, plugin_id))
        except (InvalidTag, ValueError):
            return LockedSecrets(plugin_id, key_id, sealed)
        opened: dict[str, Any] = msgspec.json.decode(text)
        return opened


_URL_SAFE = str.maketrans("-_", "+/")


def _bound(tenant_id: str, plugin_id: str) -> bytes:
    return f"plugyard secrets {tenant_id.lower()} {plugin_id.lower()}".encode()
