"""Who stands behind a version, in answers."""

from datetime import datetime

from plugyard.http.view import View


class TrustView(View, frozen=True):
    """What stands wherever a plugin is shown: whether its version is signed, and who its publisher is.

    `publisher` is null where the tenant that published it has no name of an operator's making.
    """

    signed: bool
    publisher: str | None
    verified_publisher: bool


class SignatureView(View, frozen=True):
    """A signature that was verified when it was taken in, and what became of its key since.

    Where `counts` is false, the key was revoked from a moment on that lies before `acceptedAt`.
    """

    key_id: str
    public_key: str
    value: str
    accepted_at: datetime
    counts: bool
    key_revoked_at: datetime | None
    key_revoked_because: str | None
