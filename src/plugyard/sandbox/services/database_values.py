"""JSON to PostgreSQL's text form and back, the way ``docs/writing-plugins.md`` promises it. For ``database``.

Parameters go without a type, so that PostgreSQL takes the one that the statement wants. Of results, numbers that JSON
readers would round come as strings.
"""

import base64
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
from psycopg.postgres import types

from plugyard.sandbox.services.base import ServiceFault

MAX_PARAMETERS = 1_000
_SAFE_INTEGER = 2**53 - 1
_MOMENT = re.compile(r"(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?")
_PIECE = re.compile(rb'[{},]|"((?:[^"\\]|\\.)*)"|[^{},"]+', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

Convert = Callable[[bytes], Any]


def parameters(values: Any) -> list[bytes | None]:
    """The parameters as PostgreSQL reads them; raises ``ServiceFault`` for what it has no form for."""
    if not isinstance(values, list) or len(values) > MAX_PARAMETERS:
        raise ServiceFault("invalid_arguments", f"parameters must be a list of at most {MAX_PARAMETERS} values")
    return [None if value is None else encoded(_text(value)) for value in values]


def encoded(text: str) -> bytes:
    """UTF-8; raises ``ServiceFault`` for the two things that PostgreSQL's text cannot hold."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ServiceFault("invalid_arguments", "a text holds a surrogate without its other half") from None
    if b"\0" in data:
        raise ServiceFault("invalid_arguments", "a text holds the character U+0000, which PostgreSQL cannot store")
    return data


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "{" + ",".join(_element(one) for one in value) + "}"
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return repr(value)


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str | dict):
        return '"' + _text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _text(value)


def converter(oid: int) -> Convert:
    """What makes JSON of a column of this type."""
    return _CONVERTERS.get(oid, bytes.decode)


def _integer(data: bytes) -> int | str:
    value = int(data)
    return value if abs(value) <= _SAFE_INTEGER else data.decode()


def _float(data: bytes) -> float | str:
    value = float(data)
    return value if math.isfinite(value) else data.decode()


def _moment(data: bytes) -> str:
    text = data.decode()
    found = _MOMENT.fullmatch(text)
    # Dates before Christ and the two infinities stay as PostgreSQL writes them.
    return f"{found[1]}T{found[2]}{'Z' if found[3] else ''}" if found else text


def _base64(data: bytes) -> str:
    return base64.b64encode(bytes.fromhex(data[2:].decode())).decode()


def _array(element: Convert) -> Convert:
    def convert(data: bytes) -> Any:
        # An array whose first index is not 1 says so before an equals sign.
        at = data.index(b"=") + 1 if data.startswith(b"[") else 0
        stack: list[list[Any]] = [[]]
        for piece in _PIECE.finditer(data, at):
            token = piece[0]
            if token == b"{":
                stack.append([])
            elif token == b"}":
                done = stack.pop()
                stack[-1].append(done)
            elif token != b",":
                quoted = piece[1]
                if quoted is not None:
                    stack[-1].append(element(_ESCAPED.sub(rb"\1", quoted)))
                else:
                    stack[-1].append(None if token == b"NULL" else element(token))
        return stack[0][0]

    return convert


_SCALARS: dict[str, Convert] = {
    "bool": lambda data: data == b"t",
    "int2": int,
    "int4": int,
    "oid": int,
    "int8": _integer,
    "float4": _float,
    "float8": _float,
    "bytea": _base64,
    # What the database has checked need not be read here: it goes on as it is.
    "json": msgspec.Raw,
    "jsonb": msgspec.Raw,
    "timestamp": _moment,
    "timestamptz": _moment,
}
_TEXTS = ("text", "varchar", "bpchar", "name", "uuid", "numeric", "date", "time", "timetz", "interval", "inet", "cidr")
_CONVERTERS: dict[int, Convert] = {types[name].oid: convert for name, convert in _SCALARS.items()}
_CONVERTERS |= {types[name].array_oid: _array(convert) for name, convert in _SCALARS.items()}
_CONVERTERS |= {types[name].array_oid: _array(bytes.decode) for name in _TEXTS}
