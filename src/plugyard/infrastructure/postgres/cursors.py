"""The opaque text that names a place in a list. Used by `lists`.

It holds the sort key and the id of the last item shown, so that items that come or go between two pages neither repeat
others nor hide them. It is no secret and grants nothing: every page is read under row-level security.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from plugyard.domain.errors import FieldError, InvalidInput
from plugyard.infrastructure.postgres.rows import uuid_or_none

Key = str | float | datetime


@dataclass(frozen=True)
class Place:
    """Behind the item with this sort key and id."""

    key: Key
    id: str


def encode(kind: str, place: Place) -> str:
    """The cursor of a place in the lists of a kind."""
    key = place.key.isoformat() if isinstance(place.key, datetime) else place.key
    return base64.urlsafe_b64encode(msgspec.json.encode([kind, key, place.id])).rstrip(b"=").decode()


def is_uuid(text: str) -> bool:
    """Whether ids of most lists look so."""
    return uuid_or_none(text) is not None


def is_digest(text: str) -> bool:
    """Whether ids of lists look so whose items are named by a SHA-256 in hex."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def decode(kind: str, cursor: str | None, key_type: type[Key], is_id: Callable[[str], bool] = is_uuid) -> Place | None:
    """The place that a cursor names; `InvalidInput` when it is none of this kind of list."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        named, key, identity = msgspec.json.decode(raw, type=tuple[str, str | float, str])
        if named != kind or not is_id(identity):
            raise _bad_cursor()
        if key_type is datetime:
            moment = datetime.fromisoformat(str(key))
            if moment.tzinfo is None:
                raise _bad_cursor()
            return Place(moment, identity)
        if key_type is float:
            return Place(float(key), identity)
        if not isinstance(key, str) or "\0" in key:
            raise _bad_cursor()
        return Place(key, identity)
    except (ValueError, UnicodeError, binascii.Error, msgspec.DecodeError, OverflowError) as error:
        raise _bad_cursor() from error


def _bad_cursor() -> InvalidInput:
    message = "is not a cursor that this list gave; leave it out to begin at the start"
    return InvalidInput(errors=[FieldError("query/cursor", message)])
