"""Step: die with the parent, so that no environment outlives its zygote.

Called by the zygote right after each fork and again as a step of the jail: the kernel forgets the signal when a process
changes its user.
"""

import os
import signal
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig
from plugyard.sandbox.jail.native import prctl

PR_SET_PDEATHSIG = 1


def follow(parent: int) -> None:
    """Ask for SIGKILL at the death of `parent`; raises ProcessLookupError when it has died already."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent has died")


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Ask for SIGKILL at the death of the present parent."""
    # A parent that died before this line has been replaced by init or a reaper, whose id differs from what a zygote
    # checked in `follow`; the socket's end of file ends the process in that case.
    follow(os.getppid())
