"""Translates what psycopg raises into the application's errors; the cause is kept. Used by every adapter here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool

from plugyard.domain.errors import InvalidInput, StoreUnavailable

TOO_MUCH = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)
"""What PostgreSQL has no room for, however often it is sent. psycopg counts both among the operational errors."""
_LOST = (
    psycopg.OperationalError,  # Connection trouble, a server that shuts down, a deadlock, too long a statement.
    psycopg.InterfaceError,  # The connection is closed.
    psycopg_pool.PoolTimeout,
    psycopg_pool.PoolClosed,
    psycopg_pool.TooManyRequests,
    OSError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Raises `StoreUnavailable` where the database is away and `InvalidInput` where a value cannot be stored.

    What cannot be stored: text with U+0000 or a lone surrogate, which PostgreSQL has no form for, numbers beyond
    the range of a column, and what is larger, or nested deeper, than PostgreSQL takes. Every other error of psycopg is
    a fault of the statement and passes unchanged.
    """
    try:
        yield
    except (psycopg.errors.DataError, *TOO_MUCH) as error:
        raise InvalidInput(f"A value cannot be stored: {_first_line(error)}") from error
    except UnicodeEncodeError as error:
        raise InvalidInput("A text cannot be stored: it holds a surrogate without its other half.") from error
    except _LOST as error:
        raise StoreUnavailable from error


def _first_line(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).partition("\n")[0]
