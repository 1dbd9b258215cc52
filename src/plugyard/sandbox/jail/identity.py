"""Step: no root and no capabilities, whoever started the service."""

import ctypes
import os
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig
from plugyard.sandbox.jail.native import system_call
from plugyard.sandbox.jail.syscalls import number_of

_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("words", ctypes.c_uint32 * 6),)


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """As root: take on `config.uid` and `config.gid` for good. Always: give up every capability.

    A service that is not root cannot change its identity; its plugins then share its numeric user, and the other steps
    are what keeps them from using it.
    """
    if os.geteuid() == 0 or os.getuid() == 0:
        os.setgroups([])
        os.setresgid(config.gid, config.gid, config.gid)
        os.setresuid(config.uid, config.uid, config.uid)
        if 0 in (*os.getresuid(), *os.getresgid()):
            raise PermissionError("the process is still root")
    system_call(number_of("capset"), _Header(_CAPABILITY_VERSION_3, 0), _Sets())
