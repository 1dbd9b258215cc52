"""Uploads: a multipart form, read as it comes into a file of its own, with its digest, and never whole in memory."""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header  # type: ignore[import-untyped]
from starlette.types import ASGIApp

from plugyard.application.signing import GivenSignature
from plugyard.application.upload import ReceivedPackage, upload
from plugyard.domain.errors import FieldError, InvalidInput, PlugyardError, TooLarge
from plugyard.domain.identity import Action
from plugyard.http import examples, present, views
from plugyard.http.answers import json_answer
from plugyard.http.bodies import next_message
from plugyard.http.detailed import detail_of
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.problems import MalformedMultipart, StorageFull, UnsupportedMediaType
from plugyard.http.rates import RateClass

MULTIPART = "multipart/form-data"
PREFIX = "plugyard-upload-"
_FORM_OVERHEAD = 64 * 1024
_FIELD_BYTES = 200
# As much as is gathered before a thread digests and writes it; that is all that an upload holds in memory.
_SPILL_BYTES = 256 * 1024
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII | re.IGNORECASE)
_FIELDS = ("package", "checksum", "activate", "signature", "keyId")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86}==", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)

FORM: dict[str, Any] = {
    "title": "UploadForm",
    "type": "object",
    "required": ["package"],
    "additionalProperties": False,
    "properties": {
        "package": {"type": "string", "format": "binary", "description": "The package: ZIP or TAR.GZ."},
        "checksum": {
            "type": "string",
            "pattern": "^sha256:[0-9a-fA-F]{64}$",
            "description": "What the bytes have to be; others are refused.",
        },
        "activate": {
            "type": "boolean",
            "default": False,
            "description": "Whether to activate at once; the key of an admin thereby consents to what it asks.",
        },
        "signature": {
            "type": "string",
            "pattern": "^[A-Za-z0-9+/]{86}==$",
            "description": "An Ed25519 signature of the package in base64, as docs/signatures.md tells; with keyId.",
        },
        "keyId": {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "The publisher key that signed; with signature.",
        },
    },
}


@operation(
    "POST",
    "/api/v1/plugins/upload",
    tag="Plugins",
    action=Action.UPLOAD,
    rate=RateClass.UPLOAD,
    body=Body(schema=FORM, media_types=(MULTIPART,)),
    replies=[
        Reply(
            201,
            "The version is new.",
            views.UploadedView,
            examples.UPLOADED,
            headers={"Location": "Where the plugin is."},
        ),
        Reply(200, "The same bytes were here already.", views.UploadedView, {**examples.UPLOADED, "created": False}),
    ],
    problems=[
        "malformed_multipart",
        "package_refused",
        "checksum_mismatch",
        "signature_invalid",
        "signature_required",
        "version_exists",
        "name_taken",
        "storage_full",
        "quota_exceeded",
        "gate_unavailable",
        "sandbox_unavailable",
    ],
)
async def upload_package(exchange: Exchange) -> ASGIApp:
    """Upload a package.

    It is checked, stored under its digest, and installed and activated as far as the tenant's policy, `activate` and
    the caller's role allow; `consentNeeded` and `notActivated` say what is left to do. A package that is refused
    answers 422 with every finding, and nothing of it is kept.
    """
    began = time.perf_counter()
    outcome = "failed"
    try:
        async with received(exchange) as (package, fields):
            checksum, activate = _checksum(fields), _activate(fields)
            uploaded = await upload(
                exchange.platform,
                exchange.caller,
                package,
                checksum=checksum,
                activate=activate,
                signature=_signature(fields),
            )
        outcome = "created" if uploaded.created else "repeated"
    except PlugyardError as error:
        outcome = error.code
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            outcome = StorageFull.code
            raise StorageFull() from error
        raise
    finally:
        exchange.service.telemetry.upload(outcome, time.perf_counter() - began)
    view = views.UploadedView(
        plugin=await detail_of(exchange, uploaded.view),
        version=uploaded.version.number,
        created=uploaded.created,
        report=present.report(uploaded.report, uploaded.version.number),
        consent_needed=[present.permission(one) for one in uploaded.consent_needed],
        not_activated=uploaded.not_activated,
        standing=present.version_standing(uploaded.standing),
    )
    location = f"/api/v1/plugins/{uploaded.view.plugin.id}"
    return json_answer(view, status=201 if uploaded.created else 200, headers=(("location", location),))


def _checksum(fields: dict[str, str]) -> str | None:
    given = fields.get("checksum")
    if given is not None and not _CHECKSUM.fullmatch(given):
        raise InvalidInput(
            "The form has fields that do not fit.",
            [FieldError("/checksum", "must be sha256: and 64 hexadecimal digits")],
        )
    return given


def _activate(fields: dict[str, str]) -> bool:
    given = fields.get("activate", "false")
    if given not in ("true", "false"):
        raise InvalidInput("The form has fields that do not fit.", [FieldError("/activate", "must be true or false")])
    return given == "true"


def _signature(fields: dict[str, str]) -> GivenSignature | None:
    given = {name: fields.get(name) for name in ("signature", "keyId")}
    if not any(given.values()):
        return None
    forms = (("signature", _SIGNATURE, "base64 of 64 bytes"), ("keyId", _KEY_ID, "64 hexadecimal digits"))
    faults = [
        FieldError(f"/{name}", f"must be {form}" if given[name] is not None else "is required with the other")
        for name, pattern, form in forms
        if not pattern.fullmatch(given[name] or "")
    ]
    if faults:
        raise InvalidInput("The form has fields that do not fit.", faults)
    return GivenSignature(fields["keyId"], fields["signature"])


@asynccontextmanager
async def received(exchange: Exchange) -> AsyncIterator[tuple[ReceivedPackage, dict[str, str]]]:
    """The package in a file that is removed at the end of the block, and the form's other fields."""
    boundary = _boundary(exchange.headers.get("content-type", ""))
    most = exchange.service.max_upload_bytes
    length = exchange.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 18 or int(length) > most + _FORM_OVERHEAD):
        raise _too_large(most)
    with exchange.service.uploads.place() as place:
        place.admit(exchange.caller)
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, dir=exchange.service.upload_folder)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                reader = _Reader(file, most)
                await reader.read(exchange, boundary)
            yield ReceivedPackage(Path(name), reader.digest.hexdigest(), reader.size), reader.fields
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def sweep(folder: Path) -> None:
    """Remove what an earlier process left when it was killed in the middle of an upload."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(PREFIX + "*"):
        left.unlink(missing_ok=True)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The package has more than {most} bytes.")


def _boundary(content_type: str) -> str:
    kind, options = parse_options_header(content_type)
    if kind != MULTIPART:
        shown = f"{kind[:100]!r}" if kind else "no media type"
        raise UnsupportedMediaType(f"The request has {shown}; send the package as {MULTIPART}, as curl -F does.")
    boundary = options.get("boundary", "")
    if not 1 <= len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise MalformedMultipart("The Content-Type header names no boundary that can be used.")
    return str(boundary)


class _Reader:
    """Takes the parser's events: the package goes to the file, the small fields are kept."""

    def __init__(self, file: Any, most: int) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self.fields: dict[str, str] = {}
        self._file, self._most = file, most
        self._seen: set[str] = set()
        self._name = ""
        self._small = b""
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0

    async def read(self, exchange: Exchange, boundary: str) -> None:
        """Read the whole form; raises what is wrong with it as soon as that is seen."""
        # Not "strict": that would refuse the line feed behind the last boundary when it comes in a packet of its own.
        parser = PushMultipartParser(boundary, max_segment_count=len(_FIELDS) + 1)
        read = 0
        try:
            more = True
            while more:
                message = await next_message(exchange.receive)
                chunk = message.get("body", b"")
                more = message.get("more_body", False)
                read += len(chunk)
                if read > self._most + _FORM_OVERHEAD:
                    raise _too_large(self._most)
                if chunk:
                    for event in parser.parse(chunk):
                        self._take(event)
                if self._gathered_bytes >= _SPILL_BYTES:
                    await self._spill()
            parser.close()
        except MultipartError as error:
            raise MalformedMultipart(f"The form cannot be read: {error}.") from error
        finally:
            # A parser that is given up in the middle would otherwise complain of that itself.
            parser.close(check_complete=False)
        await self._spill()
        if "package" not in self._seen:
            raise InvalidInput("The form lacks the package.", [FieldError("/package", "is required")])
        if self.size == 0:
            raise InvalidInput("The package is empty.", [FieldError("/package", "has no bytes")])

    def _take(self, event: "MultipartSegment | bytes | bytearray | None") -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event.name)
        elif event is None:
            self._end()
        elif self._name == "package":
            self.size += len(event)
            if self.size > self._most:
                raise _too_large(self._most)
            self._gathered.append(bytes(event))
            self._gathered_bytes += len(event)
        else:
            self._small += event
            if len(self._small) > _FIELD_BYTES:
                raise InvalidInput(
                    "The form has fields that do not fit.",
                    [FieldError(f"/{self._name}", f"at most {_FIELD_BYTES} bytes")],
                )

    def _begin(self, name: str) -> None:
        if name not in _FIELDS:
            raise InvalidInput(
                "The form has a field that is not known.",
                [FieldError(f"/{name[:100]}", f"no such field here; there are: {', '.join(_FIELDS)}")],
            )
        if name in self._seen:
            raise InvalidInput("The form has a field twice.", [FieldError(f"/{name}", "given twice")])
        self._seen.add(name)
        self._name, self._small = name, b""

    def _end(self) -> None:
        if self._name == "package":
            return
        try:
            self.fields[self._name] = self._small.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                "The form has fields that do not fit.", [FieldError(f"/{self._name}", "is not UTF-8")]
            ) from error

    async def _spill(self) -> None:
        if not self._gathered:
            return
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        await asyncio.to_thread(_write, self._file, self.digest.update, gathered)


def _write(file: Any, digest: Callable[[bytes], None], pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    digest(data)
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


OPERATIONS = (upload_package,)
