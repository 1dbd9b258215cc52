"""Step: a lower priority, so that plugins never starve the service on a busy machine."""

import os
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Raise the process's niceness to `config.nice`, unless its zygote has done so already."""
    if os.getpriority(os.PRIO_PROCESS, 0) < config.nice:
        os.setpriority(os.PRIO_PROCESS, 0, config.nice)
