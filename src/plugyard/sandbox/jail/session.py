"""Step: a session of its own, so that no terminal and no process group is shared with the service."""

import os
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Leave the session and process group of the parent."""
    os.setsid()
