"""What senders of webhooks meet: public addresses, where a signature stands in the place of a key."""

import structlog
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from plugyard.application.deliveries import caller_of, deliver, prove, webhook_at
from plugyard.application.denialbook import Denial
from plugyard.application.denials import note_denial
from plugyard.application.tenants import require_active
from plugyard.domain.webhooks import DeliveryRefused
from plugyard.http.bodies import read_body
from plugyard.http.endpoints import answer_of, request_of
from plugyard.http.exchange import Service
from plugyard.http.operations import Methods, headers_of
from plugyard.http.problems import RouteNotFound
from plugyard.http.rates import RateClass

PATH = "/hooks/{token}"


def address_of(token: str) -> str:
    """Where a webhook is reached, as a path of this service."""
    return PATH.replace("{token}", token)


def routes_of(service: Service) -> list[Route]:
    """The route of this module."""
    return [Route(PATH, Methods({"POST": Hook(service)}), name=PATH)]


class Hook:
    """Answers one delivery: is there such an address, is the signature right, and then as any execution."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; raises what ``problems`` tells of. Unknown addresses and wrong signatures are counted."""
        platform, limits, state = self._service.platform, self._service.limits, scope["state"]
        headers = headers_of(scope)
        webhook = await webhook_at(platform, scope["path_params"]["token"])
        # Senders share addresses: what is sent from one to nowhere, or to another webhook, shuts nobody out here.
        at = webhook.id if webhook is not None else "nowhere"
        if limits is not None:
            limits.check_address(scope, headers, at)
        if webhook is None:
            await self._count_failure(scope, at)
            raise RouteNotFound()
        body = await read_body(receive, headers, platform.policies.endpoint_body_bytes)
        caller = caller_of(webhook, state["request_id"])
        state["caller"] = caller
        try:
            delivery = prove(platform, webhook, headers, body)
        except DeliveryRefused as error:
            await self._count_failure(scope, at)
            denial = Denial(caller.tenant_id, caller.actor, f"POST {PATH}", error.code, "", caller.request_id)
            note_denial(platform, denial)
            raise
        # A stranger's body that never ends holds no place: only what is signed is worked on.
        with self._service.at_once.place() as place:
            place.admit(caller)
            if limits is not None:
                await limits.admit(RateClass.EXECUTE, caller, state)
            await require_active(platform, caller)
            structlog.contextvars.bind_contextvars(tenantId=caller.tenant_id)
            request = request_of(scope, webhook.path, body, headers)
            answered = await deliver(platform, caller, webhook, delivery, request)
        await answer_of(state, answered)(scope, receive, send)

    async def _count_failure(self, scope: Scope, at: str) -> None:
        if self._service.limits is not None:
            await self._service.limits.count_failure(scope, at)
