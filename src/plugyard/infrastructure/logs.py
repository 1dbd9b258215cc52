"""Structured logs: what the service tells its operators line by line. ``bootstrap`` configures them before all else."""

import logging
import sys
from typing import Any

import msgspec
import structlog

from plugyard.application.tracing import current

# Values of these are never written, whatever logs them; keys and bodies are not logged in the first place.
_SECRET = frozenset({"authorization", "secret", "password", "token", "pepper", "body"})

# Without local variables, which structlog shows unless told otherwise: they hold keys and what plugins were given.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure_logging(form: str = "console", level: str = "info") -> None:
    """Write logs to the standard error: ``json``, an object on each line, or ``console``, for people.

    ``level`` is debug, info, warning or error. What libraries log by the standard library comes the same way.
    """
    lowest = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _with_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_secrets,
    ]
    if form == "json":
        rendering: list[Any] = [_TRACEBACKS, structlog.processors.JSONRenderer(_to_json)]
    else:
        plain = structlog.dev.plain_traceback
        rendering = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_only_event, *rendering])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(lowest, logging.WARNING))


def _only_event(logger: Any, method: str, event: Any) -> Any:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, method, event)


def _with_trace(logger: Any, method: str, event: Any) -> Any:
    """Name the trace that a line belongs to, where there is one."""
    traced = current.get()
    if traced is not None:
        event["traceId"] = traced.trace_id
    return event


def _without_secrets(logger: Any, method: str, event: Any) -> Any:
    for name in event:
        if name.lower() in _SECRET:
            event[name] = "********"
    return event


def _to_json(value: Any, **options: Any) -> str:
    return msgspec.json.encode(value, enc_hook=repr).decode()
