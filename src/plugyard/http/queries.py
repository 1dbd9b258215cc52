"""Query parameters: each operation names those that it takes; everything else is refused by name.

``exchange.py`` reads them, and ``openapi.py`` writes the same declarations into the document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from plugyard.application.ports import PageRequest
from plugyard.domain.errors import FieldError, InvalidInput

MAX_TEXT = 200
# Neither control characters nor NUL: no name or word has them, and no database keeps the latter.
PLAIN_TEXT = r"^[^\u0000-\u001f\u007f]*$"
MAX_QUERY_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, the JSON Schema that documents it, and how its text is read.

    ``read`` raises ``ValueError`` with what is wrong. ``header`` is true for one that comes as a header.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]
    default: Any = None
    example: Any = None
    header: bool = False
    required: bool = field(default=False)


def text(name: str, description: str, *, most: int = MAX_TEXT, example: str | None = None) -> Parameter:
    """Some words, without control characters."""

    def read(value: str) -> str:
        if not 1 <= len(value) <= most:
            raise ValueError(f"between 1 and {most} characters")
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise ValueError("no control characters")
        return value

    schema = {"type": "string", "minLength": 1, "maxLength": most, "pattern": PLAIN_TEXT}
    return Parameter(name, description, schema, read, example=example)


def choice(name: str, description: str, values: Sequence[str], *, default: str | None = None) -> Parameter:
    """One of some words."""

    def read(value: str) -> str:
        if value not in values:
            raise ValueError(f"one of: {', '.join(values)}")
        return value

    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    if default is not None:
        schema["default"] = default
    return Parameter(name, description, schema, read, default=default)


def choice_of(name: str, description: str, values: type[StrEnum]) -> Parameter:
    """One member of an enumeration."""
    plain = choice(name, description, [one.value for one in values])
    return Parameter(name, description, plain.schema, lambda value: values(plain.read(value)))


def whole(name: str, description: str, least: int, most: int, default: int) -> Parameter:
    """A whole number within bounds."""

    def read(value: str) -> int:
        plain = value.isascii() and value.isdigit() and len(value) <= 9 and str(int(value)) == value
        if not plain or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(value)

    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return Parameter(name, description, schema, read, default=default)


def flag(name: str, description: str) -> Parameter:
    """``true`` or ``false``."""

    def read(value: str) -> bool:
        if value not in ("true", "false"):
            raise ValueError("true or false")
        return value == "true"

    return Parameter(name, description, {"type": "boolean", "default": False}, read, default=False)


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC; one before the first or behind the last that there is in UTC becomes that one."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # Only on the first and the last day that can be written.
        return (datetime.min if moment.year == 1 else datetime.max).replace(tzinfo=UTC)


def moment(name: str, description: str) -> Parameter:
    """A date and time of RFC 3339, with its offset."""

    def read(value: str) -> datetime:
        try:
            found = msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            raise ValueError("a date and time of RFC 3339, as in 2026-01-31T09:30:00Z") from None
        if found.tzinfo is None:
            raise ValueError("a date and time with its offset, as in 2026-01-31T09:30:00Z")
        return in_utc(found)

    schema = {"type": "string", "format": "date-time"}
    return Parameter(name, description, schema, read, example="2026-01-31T09:30:00Z")


LIMIT = whole("limit", "How many items to answer at most.", 1, 100, 20)
CURSOR = Parameter(
    "cursor",
    "Where to go on: the `nextCursor` of the page before, unchanged.",
    {"type": "string", "minLength": 1, "maxLength": 1_000, "pattern": "^[!-~]+$"},
    lambda value: _cursor(value),
)
PAGE = (LIMIT, CURSOR)


def _cursor(value: str) -> str:
    if not 1 <= len(value) <= 1_000 or not all("!" <= one <= "~" for one in value):
        raise ValueError("the nextCursor of an earlier page")
    return value


def page_of(values: Mapping[str, Any]) -> PageRequest:
    """The page that was asked for."""
    return PageRequest(values["limit"], values["cursor"])


def read_query(raw: bytes, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values of a query string, with defaults; raises ``InvalidInput`` naming every parameter that is wrong."""
    values = {one.name: one.default for one in parameters if not one.header}
    if not raw:
        return values
    if len(raw) > MAX_QUERY_BYTES:
        raise InvalidInput("The query is too long.", [FieldError("query", f"at most {MAX_QUERY_BYTES} bytes")])
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", encoding="utf-8", max_num_fields=100
        )
    except ValueError as error:
        raise InvalidInput("The query cannot be read.", [FieldError("query", str(error)[:200])]) from error
    known = {one.name: one for one in parameters if not one.header}
    seen: set[str] = set()
    errors = []
    for name, value in pairs:
        where = f"query/{name[:100]}"
        if name not in known:
            listed = ", ".join(known) or "none"
            errors.append(FieldError(where, f"no such parameter here; there are: {listed}"))
        elif name in seen:
            errors.append(FieldError(where, "given more than once"))
        else:
            seen.add(name)
            try:
                values[name] = known[name].read(value)
            except ValueError as error:
                errors.append(FieldError(where, f"must be {error}"))
    if errors:
        raise InvalidInput("The query has parameters that do not fit.", errors)
    return values


def read_headers(headers: Mapping[str, str], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values of the declared headers; raises ``InvalidInput`` naming each that is wrong."""
    values: dict[str, Any] = {}
    errors = []
    for one in parameters:
        if not one.header:
            continue
        given = headers.get(one.name.lower())
        try:
            values[one.name] = one.default if given is None else one.read(given)
        except ValueError as error:
            errors.append(FieldError(f"header/{one.name}", f"must be {error}"))
    if errors:
        raise InvalidInput("The request has headers that do not fit.", errors)
    return values
