"""Which service a plugin's call reaches, and whether it may. Asked by ``outside.calls`` for every call.

The grant comes from the service's own record of the execution, never from what the environment says. ``bootstrap``
makes one ``Services`` and offers what this server has; what is not offered answers that it is unavailable.
"""

import contextlib
import time
from collections.abc import Iterable

from plugyard.domain.permissions import Permission
from plugyard.sandbox.services.base import Denied, Service, ServiceFault

# What a call names, and the permission word that it needs.
PERMISSIONS = {
    "database": "database",
    "cache": "cache",
    "http": "network",
    "events": "events",
    "files": "filesystem",
}

_FORGET_ABOVE = 1_000


class Pace:
    """Spreads the calls of a tenant over time: so many a second, and a burst of one second's worth at once.

    The generic cell rate algorithm (ITU-T I.371): one number for each tenant, and no timer that ticks.
    """

    def __init__(self, per_second: float) -> None:
        self._step = 1.0 / per_second
        self._ahead: dict[str, float] = {}

    def delay(self, tenant_id: str) -> float:
        """How long a call that comes now has to wait, in seconds."""
        now = time.monotonic()
        due = max(self._ahead.get(tenant_id, now), now) + self._step
        if len(self._ahead) > _FORGET_ABOVE:
            self._ahead = {tenant: at for tenant, at in self._ahead.items() if at > now}
        self._ahead[tenant_id] = due
        return max(0.0, due - now - 1.0)


class Services:
    """The services that this server offers. ``offer`` them before the first execution and ``close`` them at the end."""

    def __init__(self, calls_per_second: float = 2_000.0) -> None:
        self._offered: dict[str, Service] = {}
        self.pace = Pace(calls_per_second)

    def offer(self, name: str, service: Service) -> None:
        """Offer a service under one of the names of ``PERMISSIONS``."""
        if name not in PERMISSIONS:
            raise ValueError(f"{name} is no service that plugins know")
        self._offered[name] = service

    def find(self, name: str, method: str, grants: Iterable[Permission]) -> tuple[Service, Permission]:
        """The service that a call reaches, with the grant that lets it; raises ``Denied`` and ``ServiceFault``."""
        word = PERMISSIONS.get(name)
        if word is None:
            raise _unknown(name, method)
        grant = next((one for one in grants if one.service.value == word), None)
        if grant is None:
            raise Denied(
                f'{name}.{method[:40]} needs the permission "{word}", which this plugin was not granted',
            )
        service = self._offered.get(name)
        if service is None:
            raise ServiceFault("service_unavailable", f"this server does not offer the service {name}")
        if method not in service.methods:
            raise _unknown(name, method)
        return service, grant

    async def close(self) -> None:
        """End every service."""
        async with contextlib.AsyncExitStack() as stack:
            for service in self._offered.values():
                stack.push_async_callback(service.close)
        self._offered.clear()


def _unknown(name: str, method: str) -> ServiceFault:
    return ServiceFault("unknown_service", f"there is no service method {name[:40]}.{method[:40]}")
