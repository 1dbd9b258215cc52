"""Step: no descriptor is left but those named, so there is nothing to read, write or connect through."""

import os
from collections.abc import Sequence

from plugyard.sandbox.jail.config import JailConfig


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Close every descriptor outside `keep`, standard streams included."""
    floor = 0
    for descriptor in sorted(keep):
        os.closerange(floor, descriptor)
        floor = descriptor + 1
    # The limit of open files may have been lowered after descriptors were opened, so the whole range is closed;
    # close_range(2) makes that one call.
    os.closerange(floor, 2**31 - 1)
