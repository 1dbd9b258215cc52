"""Figures of this process that nobody counts as they happen: read when Prometheus asks. Called by ``assembly.py``."""

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from plugyard.http.atonce import AtOnce
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.settings import Settings

if TYPE_CHECKING:
    from plugyard.gate.jailed import JailedInspector
    from plugyard.sandbox.outside.executor import Sandbox


def show_figures(telemetry: Telemetry, settings: Settings, sandbox: "Sandbox", gate: "JailedInspector") -> None:
    """Have the bounds of the sandbox, the starts of both zygotes and the data folder's disk shown."""

    def disk() -> Mapping[str, float]:
        try:
            used = shutil.disk_usage(settings.data)
        except OSError:
            # The other figures are all the more of interest then.
            return {}
        return {"free": used.free, "size": used.total}

    telemetry.gauge("plugyard_environments_limit", "Most environments at a time.", lambda: settings.max_environments)
    telemetry.counter(
        "plugyard_sandbox_starts",
        "Times that the sandbox's zygote has started; the first is the service's own.",
        lambda: sandbox.starts,
    )
    telemetry.counter(
        "plugyard_gate_starts",
        "Times that the gate's zygote has started; the first is the service's own.",
        lambda: gate.starts,
    )
    telemetry.gauge("plugyard_data_disk_bytes", "The disk of the data folder.", disk)


def show_requests(telemetry: Telemetry, at_once: AtOnce) -> None:
    """Have the requests that are worked on shown beside how many there may be, and those that were too many."""
    telemetry.gauge("plugyard_requests", "Requests that are worked on at this moment.", lambda: at_once.under_way)
    telemetry.gauge("plugyard_requests_limit", "Most requests at a time; 0 is any number.", lambda: at_once.most)
    telemetry.counter(
        "plugyard_requests_refused", "Requests that came when there were as many as may be.", lambda: at_once.refused
    )
