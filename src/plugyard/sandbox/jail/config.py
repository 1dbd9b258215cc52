"""What a jail is told: plain values, decided by the service and carried to the jailed process by the zygote."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


class JailError(Exception):
    """A step of the jail could not be taken, so nothing may execute."""


@dataclass(frozen=True, slots=True)
class JailConfig:
    """How one process is closed.

    `enforced=False` is the operator's `--unsafe-no-jail`: only the steps that every system has are taken. `uid` and
    `gid` are the numeric identity that a process started as root takes on (ids below 65536 exist in most user
    namespaces). `data_bytes` caps private writable memory (RLIMIT_DATA), None leaves it to a later `limit_data`.
    `reads_files` allows seeking in descriptors that were handed over before the jail closed; it opens nothing.
    `maps_code` leaves the right to make memory executable, for machine code that comes through the socket; `seal` takes
    it away.
    """

    enforced: bool = True
    uid: int = 61984
    gid: int = 61984
    nice: int = 5
    open_files: int = 16
    data_bytes: int | None = None
    reads_files: bool = False
    maps_code: bool = False

    def to_params(self) -> dict[str, bool | int | float | str | None]:
        """The form in which it travels in a fork request."""
        return asdict(self)

    @classmethod
    def from_params(cls, params: Mapping[str, bool | int | float | str | None]) -> "JailConfig":
        """Read `to_params` back; other keys are left alone."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in params.items() if name in known})  # type: ignore[arg-type]
