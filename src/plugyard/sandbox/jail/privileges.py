"""Step: no_new_privs, so that nothing executed later could gain rights; seccomp and Landlock ask for it."""

from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig
from plugyard.sandbox.jail.native import prctl

PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Set no_new_privs and make the process undumpable, so that a sibling cannot attach to it."""
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if prctl(PR_GET_NO_NEW_PRIVS) != 1:
        raise PermissionError("no_new_privs is not set")
