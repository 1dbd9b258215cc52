"""Traces, where the settings name a collector. ``assembly.py`` calls this; the libraries load only then."""

import asyncio
import importlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plugyard.bootstrap.keys import CannotStart
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.settings import Settings

if TYPE_CHECKING:
    from plugyard.infrastructure.tracing import OtlpTracing


async def tracing_of(settings: Settings, telemetry: Telemetry, parts: AsyncExitStack) -> "OtlpTracing | None":
    """What begins traces, or nothing; ``parts`` learns how to end it. Raises ``CannotStart``."""
    if settings.otlp_url is None:
        return None
    address = urlsplit(settings.otlp_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise CannotStart("--otlp-url: it has to be an http or https URL")
    headers = dict(_pair(one) for one in settings.otlp_headers)
    adapter = await asyncio.to_thread(importlib.import_module, "plugyard.infrastructure.tracing")
    tracing: OtlpTracing = adapter.OtlpTracing(
        settings.otlp_url, share=settings.trace_share, trust_callers=settings.trace_callers, headers=headers
    )
    show_tracing(telemetry, tracing)
    parts.push_async_callback(asyncio.to_thread, tracing.close)
    return tracing


def show_tracing(telemetry: Telemetry, tracing: "OtlpTracing") -> None:
    """Have shown what became of spans."""
    telemetry.counter("plugyard_spans_exported", "Spans that the collector took.", lambda: tracing.exported)
    telemetry.counter(
        "plugyard_spans_dropped",
        "Spans that found no room in the queue, or that the collector did not take.",
        lambda: tracing.dropped,
    )


def _pair(header: str) -> tuple[str, str]:
    name, found, value = header.partition("=")
    if not found or not name.strip():
        raise CannotStart("--otlp-headers: each has the form NAME=VALUE")
    return name.strip(), value.strip()
