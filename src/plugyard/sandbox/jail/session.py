"""Step: a process group of its own, in the session of its zygote, which shares no terminal with the service.

Not a session of its own: Linux hands the processor out among sessions first (autogroups), and what is said of priority
counts only within one. In the zygote's session environments are told apart by how they compute, and all of them
together stand behind the service. Source: sched(7), "The autogroup feature".
"""

import os
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Leave the process group of the zygote."""
    os.setpgid(0, 0)
