"""Step: the kernel's own resource limits, the last resort behind the engine's cap and the service's clock."""

import resource
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Forbid core dumps, new processes and file writes; cap descriptors and, when told, private memory."""
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NPROC, 0)
    lower(resource.RLIMIT_FSIZE, 0)
    lower(resource.RLIMIT_MEMLOCK, 0)
    lower(resource.RLIMIT_MSGQUEUE, 0)
    # The kernel refuses descriptors at or above the limit, so the highest one that is kept sets the least value.
    lower(resource.RLIMIT_NOFILE, max(config.open_files, *(descriptor + 1 for descriptor in keep)))
    if config.data_bytes is not None:
        limit_data(config.data_bytes)


def limit_data(size: int) -> None:
    """Cap private writable memory of this process at `size` bytes; raises OSError or ValueError when refused."""
    lower(resource.RLIMIT_DATA, size)


def lower(which: int, value: int) -> None:
    """Set soft and hard limit to `value`, or to the hard limit where that is lower already."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))
