"""Step: Landlock, where the kernel has it: no file, no port, no abstract socket, whatever seccomp would miss.

The rule set handles every right that the kernel's ABI knows and grants none. Source: landlock(7), linux/landlock.h.
"""

import ctypes
import errno
import os
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig
from plugyard.sandbox.jail.native import system_call

# Landlock came after the system call tables were unified: the numbers hold on every architecture.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION_QUERY = 1

# How many file system rights each ABI handles, from the lowest bit.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NETWORK_ABI, _NETWORK_RIGHTS = 4, 0b11
_SCOPE_ABI, _SCOPES = 6, 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def version() -> int:
    """The kernel's Landlock ABI, 0 where there is none."""
    try:
        return system_call(_CREATE_RULESET, None, 0, _VERSION_QUERY)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Deny every handled right; a kernel without Landlock leaves this wall to seccomp."""
    abi = version()
    if abi == 0:
        return
    rules = _Ruleset((1 << _FILE_RIGHTS[min(abi, max(_FILE_RIGHTS))]) - 1)
    size = 8
    if abi >= _NETWORK_ABI:
        rules.network, size = _NETWORK_RIGHTS, 16
    if abi >= _SCOPE_ABI:
        rules.scoped, size = _SCOPES, 24
    descriptor = system_call(_CREATE_RULESET, rules, size, 0)
    try:
        system_call(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)
