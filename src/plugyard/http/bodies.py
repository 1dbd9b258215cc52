"""Bodies: read with a cap, taken as JSON, and held strictly against the type that an operation names.

msgspec decodes what is right, fast; only where it refuses are all the faults looked for, so that they come at once.
"""

import asyncio
import json
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar, cast

import jsonschema_rs
import msgspec
from starlette.types import Receive

from plugyard.application.schemas import compiled, deeper_than, larger_than, pointer
from plugyard.domain.errors import FieldError, InvalidInput, TooLarge
from plugyard.http.problems import MalformedJson, MalformedRequest, RequestTimeout, UnsupportedMediaType

T = TypeVar("T")
MAX_ERRORS = 50
DEFAULT_CAP = 256 * 1024
IDLE_S = 30.0
# The library follows no value deeper than 255 levels when it tells of its faults.
_DEEPEST = 250
# Up to how many members and characters a body is told of with all of its faults. Each error has a copy of the value
# that it is about: a type's are few for each field, but of a configuration every name has one with the whole object.
_SMALL, _SMALL_CONFIGURATION = 16_000, 400
JSON_TYPE, MERGE_PATCH_TYPE = "application/json", "application/merge-patch+json"


async def next_message(receive: Receive) -> Any:
    """The next part of a body. Raises ``RequestTimeout`` where none comes, so that no request hangs for ever."""
    try:
        async with asyncio.timeout(IDLE_S):
            message = await receive()
    except TimeoutError as error:
        raise RequestTimeout(f"Nothing of the body arrived for {IDLE_S:g} seconds.") from error
    if message["type"] != "http.request":
        raise MalformedRequest("The client left before the body had arrived.")
    return message


async def read_body(receive: Receive, headers: Mapping[str, str], cap: int) -> bytes:
    """The body, at most ``cap`` bytes; raises ``TooLarge`` as soon as there are more, whatever the headers say."""
    length = headers.get("content-length", "")
    if length.isdigit() and (len(length) > 18 or int(length) > cap):
        raise TooLarge(f"The body has {length[:20]} bytes; at most {cap} are taken here.")
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await next_message(receive)
        piece = message.get("body", b"")
        size += len(piece)
        if size > cap:
            raise TooLarge(f"The body has more than {cap} bytes.")
        if not message.get("more_body", False) and not pieces:
            return bytes(piece)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def check_media_type(headers: Mapping[str, str], accepted: tuple[str, ...]) -> None:
    """Raise ``UnsupportedMediaType`` unless the body is of an accepted type, in UTF-8."""
    given = headers.get("content-type", "")
    if given == JSON_TYPE:
        kind, parameters = given, ""
    else:
        kind, _, parameters = given.partition(";")
    if kind.strip().lower() not in accepted:
        shown = f"{given[:100]!r}" if given else "no media type"
        raise UnsupportedMediaType(f"The request has {shown}; send the body as {' or '.join(accepted)}.")
    if parameters:
        name, _, value = parameters.strip().partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(f"JSON is UTF-8; the request says charset {value.strip()[:40]!r}.")


def decode(raw: bytes, type_: type[T], *, schema: str = "", document: Mapping[str, Any] | None = None) -> T:
    """The body as a value of the type; raises ``MalformedJson``, or ``InvalidInput`` with every fault by pointer.

    ``document`` is a schema to hold it against, under the name ``schema``; by default it is the type's own.
    """
    validator = _validator(cast("Hashable", type_)) if document is None else _named_validator(schema, document)
    small = _SMALL if document is None else _SMALL_CONFIGURATION
    try:
        value = msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError as error:
        if faults := _faults(raw, validator, small):
            raise InvalidInput("The body does not fit.", faults) from error
        value = _with_whole_numbers(raw, type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(raw, error) from error
    # The types leave two things open: names that stand twice, and a line feed that "$" overlooks in Python.
    if not validator.is_valid(_once_each(raw)):
        raise InvalidInput("The body does not fit.", _faults(raw, validator, small))
    return value


def malformed(raw: bytes, error: Exception) -> MalformedJson:
    """What to raise for a body of which msgspec said that it is no JSON."""
    if not raw.strip():
        return MalformedJson("The body is empty; a JSON object is needed.")
    if isinstance(error, RecursionError):
        return MalformedJson("The body nests too deep.")
    if isinstance(error, UnicodeDecodeError):
        return MalformedJson(f"The body is not UTF-8: {error.reason} at byte {error.start}.")
    return MalformedJson(f"{error}.")


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _once_each(raw: bytes) -> Any:
    """The value again; ``InvalidInput`` when a name stands twice in one object: readers disagree which counts."""
    try:
        return json.loads(raw, object_pairs_hook=_once)
    except _Twice as error:
        where = [FieldError(pointer([str(error)[:100]]), "given twice")]
        raise InvalidInput("The body has a name twice in one object.", where) from error
    except (ValueError, RecursionError) as error:
        raise MalformedJson(f"The body is no valid JSON: {str(error)[:200]}") from error


@cache
def _validator(type_: Hashable) -> jsonschema_rs.Draft202012Validator:
    return compiled(msgspec.json.schema(type_))


_named: dict[str, jsonschema_rs.Draft202012Validator] = {}


def _named_validator(name: str, document: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    if name not in _named:
        _named[name] = compiled(dict(document))
    return _named[name]


def _faults(raw: bytes, validator: jsonschema_rs.Draft202012Validator, small: int) -> list[FieldError]:
    """Every fault of the body by the schema, of one that is not small the first; none where only msgspec saw one."""
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        return [_from_msgspec(str(error))]  # a number beyond what JSON readers agree on
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(raw, error) from error
    if deeper_than(_DEEPEST, raw, value):
        raise MalformedJson("The body nests too deep.")
    errors: Iterable[jsonschema_rs.ValidationError] = ()
    if not larger_than(small, value):
        errors = validator.iter_errors(value)
    else:
        # All errors are there before the first is given, so the first is asked for in another way.
        try:
            validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            errors = (error,)
    return list(islice(chain.from_iterable(map(_told, errors)), MAX_ERRORS))


def _told(error: jsonschema_rs.ValidationError) -> list[FieldError]:
    where, kind = pointer(error.instance_path), error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        unknown = islice(kind.unexpected, MAX_ERRORS)
        return [FieldError(where + pointer([name[:100]]), "no such field here") for name in unknown]
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        return [FieldError(where + pointer([str(kind.property)]), "is required")]
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AnyOf):
        # A value that may be null: what is wrong with it as a value is what helps.
        branches = [branch for branch in kind.context if not all(_wants_null(one) for one in branch)]
        if len(branches) == 1:
            return [fault for one in branches[0] for fault in _told(one)]
    return [FieldError(where, error.message[:300])]


def _wants_null(error: jsonschema_rs.ValidationError) -> bool:
    return error.message.endswith('type "null"')


def _with_whole_numbers(raw: bytes, type_: type[T]) -> T:
    """The body once more, for whoever writes ``4.0``: to JSON Schema (and to JavaScript) that is the integer 4."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
        for name, value in fields.items():
            if name != "input":
                fields[name] = _whole(value)
        return msgspec.json.decode(msgspec.json.encode(fields), type=type_)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInput("The body does not fit.", [_from_msgspec(str(error))]) from error


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _from_msgspec(message: str) -> FieldError:
    what, _, path = message.partition(" - at `$")
    parts: list[str | int] = [part.rstrip("]`") for part in path.replace("[", ".").split(".") if part.rstrip("]`")]
    return FieldError(pointer(parts), what[:300])
