"""Figures of this process that nobody counts as they happen: read when Prometheus asks. Called by ``assembly.py``."""

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

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
