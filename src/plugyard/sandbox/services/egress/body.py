"""Reads an answer's body and undoes its compression, counting both: a small body that inflates without end is cut.

aiohttp would inflate by itself and count nothing, so that is switched off and done here, a piece at a time.
Source: RFC 9110 (8.4 content codings), RFC 1950 to 1952.
"""

import base64
import zlib
from collections.abc import AsyncIterator
from typing import Any

from plugyard.sandbox.services.base import ServiceFault

ACCEPTED = "gzip, deflate"
_PIECE = 64 * 1024


async def read(pieces: AsyncIterator[bytes], coding: str, cap: int) -> bytes:
    """The whole body, decoded. Raises ServiceFault above `cap` bytes, sent or decoded, and for a broken coding."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        whole = bytearray()
        async for piece in pieces:
            whole += piece
            _check(len(whole), cap)
        return bytes(whole)
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise ServiceFault("bad_response", f"the answer is encoded as {coding[:40]!r}, which was not asked for")
    return await _inflated(pieces, coding == "deflate", cap)


async def _inflated(pieces: AsyncIterator[bytes], deflate: bool, cap: int) -> bytes:
    inflater = None if deflate else zlib.decompressobj(wbits=31)
    whole = bytearray()
    received = 0
    try:
        async for piece in pieces:
            received += len(piece)
            _check(received, cap)
            if inflater is None:
                # "deflate" means the zlib format, and some servers send it bare; the first byte tells them apart.
                inflater = zlib.decompressobj(wbits=15 if piece[0] & 0x0F == 8 else -15)
            waiting = piece
            while waiting:
                if inflater.eof:
                    # Another gzip member may follow (RFC 1952, 2.2); anything else is padding.
                    if deflate or not waiting.startswith(b"\x1f"):
                        break
                    inflater = zlib.decompressobj(wbits=31)
                whole += inflater.decompress(waiting, _PIECE)
                _check(len(whole), cap)
                waiting = inflater.unconsumed_tail or inflater.unused_data
            # What the inflater still holds back comes out without new input.
            while not inflater.eof and (more := inflater.decompress(b"", _PIECE)):
                whole += more
                _check(len(whole), cap)
    except zlib.error as error:
        raise ServiceFault("bad_response", "the answer's compression is broken") from error
    if inflater is not None and received and not inflater.eof:
        raise ServiceFault("bad_response", "the answer's body is cut short")
    return bytes(whole)


def _check(size: int, cap: int) -> None:
    if size > cap:
        raise ServiceFault("response_too_large", f"the answer's body has more than {cap} bytes")


def told(body: bytes) -> dict[str, Any]:
    """The body as JSON can hold it: text where it is UTF-8, else Base64."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"bodyBase64": base64.b64encode(body).decode()}
