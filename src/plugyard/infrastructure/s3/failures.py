"""What goes wrong with S3, in the words of the domain's errors. The details are for the log, never for a caller."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from plugyard.domain.errors import NotFound, StoreUnavailable

# Not that nothing was changed: a write that was not answered in time may have been done.
AWAY = "The object store is away; try again later."
REFUSED = "The object store refuses this service; an operator has to look at its credentials and its policy."
NO_BUCKET = "The object store has no such bucket; an operator has to look at the setting objects_url."
DAMAGED = "What the object store answered is not what was stored; nothing of it was used."

_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_KEPT_CHARACTERS = 300
log = structlog.get_logger("plugyard")


class Misconfigured(StoreUnavailable):
    """The bucket is not there, or not for this service: waiting will not help."""


@contextmanager
def translated(deed: str, key: str) -> Iterator[None]:
    """Turn the errors of obstore into `NotFound`, `StoreUnavailable` and `Misconfigured`."""
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _told(deed, key, error, Misconfigured(NO_BUCKET)) from error
        raise NotFound from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _told(deed, key, error, Misconfigured(REFUSED)) from error
    except (BaseError, OSError, ValueError) as error:
        raise _told(deed, key, error, _kind(str(error))) from error


def damaged(key: str) -> StoreUnavailable:
    """Other bytes came back than were stored."""
    log.error("the object store answered other bytes than were stored", key=key)
    return StoreUnavailable(DAMAGED)


def _kind(text: str) -> StoreUnavailable:
    """obstore gives an error of a list no type of its own, so its text is read."""
    status = _STATUS.search(text)
    if status and status.group(1) in ("401", "403"):
        return Misconfigured(REFUSED)
    if "NoSuchBucket" in text:
        return Misconfigured(NO_BUCKET)
    return StoreUnavailable(AWAY)


def _told(deed: str, key: str, error: Exception, kind: StoreUnavailable) -> StoreUnavailable:
    text = str(error)
    code = _CODE.search(text)
    # What S3 sends back is cut: a refusal repeats the request, and where it came from.
    cut = text.partition("<?xml")[0].partition("\n")[0][:_KEPT_CHARACTERS]
    log.warning("the object store failed", deed=deed, key=key, code=code.group(1) if code else None, error=cut)
    return kind
