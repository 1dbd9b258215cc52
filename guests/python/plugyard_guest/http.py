"""Requests through the platform's http service: what `context.services.http` is."""

import base64
import codecs
import json as _json
import re

from plugyard_guest import hostloop

_CHARSET = re.compile(r"""charset="?([^\s";]+)""", re.IGNORECASE)
_ABSENT = object()

# A codec is found while the guest is built or never: there are no files to import it from later.
for _name in ("ascii", "latin-1", "cp1252", "iso8859-15", "utf-16", "utf-16-le", "utf-16-be"):
    codecs.lookup(_name)


class HttpResponse:
    """A complete answer."""

    __slots__ = ("_bytes", "_text", "headers", "status", "url")

    def __init__(self, document: dict) -> None:
        self.status = document["status"]
        self.headers = document.get("headers", {})
        self.url = document.get("url", "")
        self._text = document.get("body")
        self._bytes = document.get("bodyBase64")

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def text(self) -> str:
        if self._text is None:
            self._text = self.bytes().decode(self._charset(), "replace")
        return self._text.removeprefix("\ufeff")

    def json(self):
        return _json.loads(self.text())

    def bytes(self) -> bytes:
        return self._text.encode() if self._bytes is None else base64.b64decode(self._bytes)

    def _charset(self) -> str:
        named = _CHARSET.search(self.headers.get("content-type", ""))
        try:
            known = codecs.lookup(named[1]) if named else None
        except LookupError:
            known = None
        return known.name if known is not None and known._is_text_encoding else "utf-8"


class Http:
    """Requests to granted hosts."""

    __slots__ = ()

    async def request(
        self,
        method: str,
        url: str,
        options: dict | None = None,
        *,
        headers: dict | None = None,
        query: dict | None = None,
        body: str | bytes | None = None,
        json: object = _ABSENT,
        timeout_ms: float | None = None,
        redirect: str | None = None,
    ) -> HttpResponse:
        given = dict(options or {})
        named = {"headers": headers, "query": query, "body": body, "timeout_ms": timeout_ms, "redirect": redirect}
        given.update({name: value for name, value in named.items() if value is not None})
        if json is not _ABSENT:
            given["json"] = json
        if "timeout_ms" in given:
            given["timeoutMs"] = given.pop("timeout_ms")
        if isinstance(given.get("body"), bytes | bytearray | memoryview):
            given["bodyBase64"] = base64.b64encode(given.pop("body")).decode()
        arguments = {"method": method.upper(), "url": str(url), "options": given}
        return HttpResponse(await hostloop.call("http", "request", arguments))

    async def get(self, url: str, options: dict | None = None, **named: object) -> HttpResponse:
        return await self.request("GET", url, options, **named)

    async def post(self, url: str, options: dict | None = None, **named: object) -> HttpResponse:
        return await self.request("POST", url, options, **named)

    async def put(self, url: str, options: dict | None = None, **named: object) -> HttpResponse:
        return await self.request("PUT", url, options, **named)

    async def delete(self, url: str, options: dict | None = None, **named: object) -> HttpResponse:
        return await self.request("DELETE", url, options, **named)
