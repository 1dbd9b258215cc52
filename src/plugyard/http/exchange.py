"""One request and what a handler needs of it: the caller, the ids in its path, its query, its headers and its body."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from starlette.types import Receive

from plugyard.application.platform import Platform
from plugyard.application.schemas import deeper_than
from plugyard.domain.errors import FieldError, InvalidInput, TooLarge
from plugyard.domain.identity import Caller
from plugyard.http.atonce import AtOnce
from plugyard.http.bodies import (
    DEFAULT_CAP,
    JSON_TYPE,
    MERGE_PATCH_TYPE,
    check_media_type,
    decode,
    read_body,
)
from plugyard.http.commands import CONFIGURATION_PATCH
from plugyard.http.rates import RateLimits
from plugyard.http.telemetry import Telemetry

T = TypeVar("T")
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
# The UUID of which RFC 9562 says that nothing has it, so asking for it is asking for something missing.
NIL = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Service:
    """What the HTTP side holds for as long as it runs."""

    platform: Platform
    telemetry: Telemetry
    upload_folder: Path
    max_upload_bytes: int
    draining: "Draining"
    limits: RateLimits | None = None  # without them, requests are not counted
    at_once: AtOnce = field(default_factory=AtOnce)
    uploads: AtOnce = field(default_factory=AtOnce)  # each waits for the gate with a file of its own
    streams: Counter[str] = field(default_factory=Counter)  # how many logs each tenant follows at this moment


class Draining:
    """Whether the service is about to end, so that streams end first."""

    def __init__(self) -> None:
        self.begun = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was authenticated and whose parameters were read."""

    service: Service
    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    declared: Mapping[str, Any] = field(default_factory=dict)  # the headers that the operation declares, as values
    state: dict[str, Any] = field(default_factory=dict)  # what the log's line on this request is to say
    receive: Receive = field(kw_only=True)
    direct: Any = field(default=None, kw_only=True)  # the server's extension `Direct`, where it has it
    scope: Any = field(default=None, kw_only=True)  # the request as ASGI has it, for what is passed on as it came

    @property
    def platform(self) -> Platform:
        """The use cases' ports and policies."""
        return self.service.platform

    def id(self, name: str) -> str:
        """An id of the path. Text that is no UUID is looked for like one that nothing has: the answer is the same."""
        given = self.path[name]
        return given.lower() if _UUID.fullmatch(given) else NIL

    def digest(self, name: str) -> str:
        """An id of the path that is a SHA-256 in hex; other text is looked for like one that nothing has."""
        given = self.path[name].lower()
        return given if _DIGEST.fullmatch(given) else "0" * 64

    async def body(self, type_: type[T], *, cap: int = DEFAULT_CAP) -> T:
        """The body as a value; it has to be there."""
        check_media_type(self.headers, (JSON_TYPE,))
        return decode(await read_body(self.receive, self.headers, cap), type_)

    async def optional_body(self, type_: type[T]) -> T:
        """The body as a value, or the type's defaults where none was sent."""
        raw = await read_body(self.receive, self.headers, DEFAULT_CAP)
        if not raw:
            return type_()
        check_media_type(self.headers, (JSON_TYPE,))
        return decode(raw, type_)

    async def merge_patch(self) -> dict[str, Any]:
        """A JSON merge patch (RFC 7396) whose top is an object."""
        check_media_type(self.headers, (MERGE_PATCH_TYPE, JSON_TYPE))
        raw = await read_body(self.receive, self.headers, DEFAULT_CAP)
        patch = decode(raw, dict[str, Any], schema="configuration patch", document=CONFIGURATION_PATCH)
        limit = self.platform.policies.max_input_depth
        if deeper_than(limit, raw, patch):
            raise InvalidInput("The configuration nests too deep.", [FieldError("", f"at most {limit} levels")])
        return patch

    async def raw_body(self, cap: int) -> bytes:
        """The body's bytes, declared as JSON."""
        check_media_type(self.headers, (JSON_TYPE,))
        return await self.any_body(cap)

    async def any_body(self, cap: int) -> bytes:
        """The body's bytes, whatever they are."""
        whole: bytes | None = None if self.direct is None else self.direct.body()
        if whole is None:
            return await read_body(self.receive, self.headers, cap)
        if len(whole) > cap:
            raise TooLarge(f"The body has {len(whole)} bytes; at most {cap} are taken here.")
        return whole
