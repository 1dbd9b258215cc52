"""What runs in the new process between the service and PostgreSQL: drop rights, die with the parent, exec.

Started by `process` as `python -I -S -c`, so it imports the standard library and the jail's primitives alone.
"""

from __future__ import annotations

import os
import signal
import sys

from plugyard.sandbox.jail.native import prctl
from plugyard.sandbox.jail.parent import PR_SET_PDEATHSIG


def main(arguments: list[str]) -> None:
    """`arguments`: the parent's process id, uid and gid to run as (or `-` and `-`), the program and its arguments."""
    parent, uid, gid, *program = arguments
    if uid != "-":
        os.setgroups([])
        os.setresgid(int(gid), int(gid), int(gid))
        os.setresuid(int(uid), int(uid), int(uid))
    # After the change of user, because the kernel forgets the signal when credentials change (prctl(2)). SIGQUIT is
    # PostgreSQL's immediate shutdown: it ends its children and leaves the recovery to the next start.
    prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
    if os.getppid() != int(parent):  # The parent died before the line above took effect.
        sys.exit(1)
    os.umask(0o077)
    os.execv(program[0], program)  # noqa: S606 - the program's path is ours, and there is no shell to avoid.
