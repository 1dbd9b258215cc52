"""How a failure is told: a stable code, the error's own words, and a stack of the author's frames alone."""

import json
import sys
import traceback

authors_files: set[str] = set()

_LONGEST_MESSAGE = 4_000
_LONGEST_STACK = 16_000


class Failure(Exception):
    """A failure that the guest itself finds, with its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ServiceError(Exception):
    """A service call failed; `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ServicePermissionError(PermissionError):
    """The tenant has not granted the service."""

    code = "permission_denied"


class ModuleRefused(ModuleNotFoundError):
    """A module that is not offered here; of the kind that libraries catch which can do without it."""

    code = "module_refused"


# Tracebacks and `type(error).__name__` show the name that the documentation uses.
ServicePermissionError.__name__ = ServicePermissionError.__qualname__ = "PermissionError"
ModuleRefused.__name__ = ModuleRefused.__qualname__ = "ModuleNotFoundError"
ModuleRefused.__module__ = "builtins"
ServicePermissionError.__module__ = ServiceError.__module__ = "builtins"


def of_service(error: dict) -> Exception:
    """The exception for a failed service call."""
    if error.get("code") == "permission_denied":
        return ServicePermissionError(error.get("message", ""))
    return ServiceError(error.get("code", "service_error"), error.get("message", ""))


def describe(error: BaseException, code: str) -> str:
    """The JSON of an error; `code` is for errors that have none of their own."""
    if isinstance(error, MemoryError):
        return json.dumps({"code": "out_of_memory", "message": "the plugin's memory is full", "stack": None})
    if isinstance(error, Failure):
        message = str(error)
        stack = None
    else:
        text = _text(error)
        message = f"{type(error).__name__}: {text}" if text else type(error).__name__
        stack = _stack(error)
    if isinstance(error, Failure | ServiceError | ServicePermissionError | ModuleRefused):
        code = error.code
    told = {"code": code, "message": message[:_LONGEST_MESSAGE], "stack": stack}
    if isinstance(error, RecursionError):
        told |= {"code": "recursion_exceeded", "limit": sys.getrecursionlimit()}
    return json.dumps(told)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return ""


def _stack(error: BaseException) -> str | None:
    try:
        told = traceback.TracebackException.from_exception(error, compact=True)
        _keep_authors_frames(told)
        text = "".join(told.format())
    except MemoryError:
        raise
    except BaseException:
        return None
    if len(text) > _LONGEST_STACK:
        text = f"{text[: _LONGEST_STACK // 2]}\n...\n{text[-_LONGEST_STACK // 2 :]}"
    return text


def _keep_authors_frames(told: traceback.TracebackException) -> None:
    pending = [told]
    while pending:
        one = pending.pop()
        one.stack = traceback.StackSummary.from_list([frame for frame in one.stack if frame.filename in authors_files])
        pending += [other for other in (one.__cause__, one.__context__, *(one.exceptions or ())) if other is not None]
