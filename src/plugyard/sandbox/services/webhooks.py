"""Requests to callers' own addresses, when an execution has ended. `bootstrap` makes it around the `http` service.

They go where the plugin itself may send a POST, and nowhere else: by the same grant, with the same judgement of
addresses and the same caps. Redirects are not followed.
"""

import asyncio
from collections.abc import Mapping, Sequence

from plugyard.domain.permissions import Permission
from plugyard.domain.permissions import Service as Word
from plugyard.domain.queue import Delivery
from plugyard.sandbox.services.base import Scope, Service, ServiceFault
from plugyard.sandbox.services.egress import fence
from plugyard.sandbox.services.egress.target import TargetError, parse

TIMEOUT_S = 15.0
NO_GRANT = "the plugin has no permission for the network, by which a webhook is allowed"


class EgressWebhooks:
    """`application.ports.Webhooks` by the `http` service."""

    def __init__(self, egress: Service) -> None:
        self._egress = egress

    def refusal(self, grants: Sequence[Permission], url: str) -> str | None:
        """Why the plugin could not send a POST there; `None` where it could."""
        grant = _network(grants)
        if grant is None:
            return NO_GRANT
        try:
            fence.judge(grant, "POST", parse(url))
        except (TargetError, UnicodeEncodeError) as error:
            return str(error)
        except ServiceFault as fault:
            return fault.message
        return None

    async def send(
        self, delivery: Delivery, grants: Sequence[Permission], headers: Mapping[str, str], body: str
    ) -> str | None:
        """Send one; why it did not get through, or `None` where the answer was a 2xx."""
        grant = _network(grants)
        if grant is None:
            return NO_GRANT
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        scope = Scope(delivery.tenant_id, delivery.plugin_id, delivery.execution_id, grant, deadline)
        options = {"headers": dict(headers), "body": body, "redirect": "manual"}
        try:
            answer = await self._egress.call(
                scope, "request", {"method": "POST", "url": delivery.url, "options": options}
            )
        except ServiceFault as fault:
            return fault.message
        status = int(answer["status"])
        return None if 200 <= status < 300 else f"it answered with status {status}"


def _network(grants: Sequence[Permission]) -> Permission | None:
    return next((grant for grant in grants if grant.service is Word.NETWORK), None)
