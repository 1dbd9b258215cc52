"""Step: a lower priority, so that plugins never starve the service on a busy machine."""

import os
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Add `config.nice` to the process's niceness."""
    if config.nice:
        os.nice(config.nice)
