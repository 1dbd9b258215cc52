"""How much of a package the gate is willing to read. The settings make one; the jailed process receives it."""

from dataclasses import dataclass

_KIB = 1 << 10
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Caps in bytes unless the name says otherwise. Every one is met while counting, never by trusting a header.

    ``ratio`` is unpacked over packed and is looked at once ``ratio_floor_bytes`` have been unpacked, so that a small
    file of blanks is no alarm. Of files that are no text the first ``kept_file_bytes`` are looked at, ``kept_bytes`` of
    all together. ``deadline_s`` is in seconds and is kept from outside the jail.
    """

    packed_bytes: int = 50 * _MIB
    unpacked_bytes: int = 200 * _MIB
    entry_bytes: int = 100 * _MIB
    entries: int = 5_000
    ratio: int = 200
    ratio_floor_bytes: int = _MIB
    path_bytes: int = 240
    path_depth: int = 16
    manifest_bytes: int = 256 * _KIB
    manifest_depth: int = 32
    bundle_bytes: int = 8 * _MIB
    kept_file_bytes: int = 512 * _KIB
    kept_bytes: int = 32 * _MIB
    findings: int = 200
    memory_bytes: int = 512 * _MIB
    deadline_s: float = 10.0
