"""What a package did when it was rehearsed, as the report on it shows that; ``present.report`` asks for it."""

from collections.abc import Sequence

from plugyard.domain.behaviour import Behaviour, RehearsedExample, ServiceUse
from plugyard.http.view import View


class ServiceUseView(View, frozen=True):
    """A kind of call of a service and its number: `target` is a request without its query, or an event's topic."""

    service: str
    method: str
    target: str
    refused: str | None
    count: int


class RehearsedView(View, frozen=True):
    """What one example of a function did; `status` is null where it was not run, and `skipped` says why."""

    function: str
    example: int
    status: str | None
    code: str | None
    message: str | None
    skipped: str | None
    wall_ms: float
    cpu_ms: float
    peak_memory_bytes: int
    service_calls: int
    permissions: Sequence[str]
    uses: list[ServiceUseView]
    more_uses: int


class HostSeenView(View, frozen=True):
    """A host that an example tried; `declared` is null where the manifest leaves hosts to the admin."""

    host: str
    declared: bool | None
    private: bool


class BehaviourView(View, frozen=True):
    """What the examples of a package did at its upload, where no service is real; permissions by their words."""

    examples: list[RehearsedView]
    used: Sequence[str]
    unused: Sequence[str]
    undeclared: Sequence[str]
    hosts: list[HostSeenView]
    took_ms: float


def behaviour(one: Behaviour | None) -> BehaviourView | None:
    """What is known of it, if anything is."""
    if one is None:
        return None
    return BehaviourView(
        examples=[_rehearsed(each) for each in one.examples],
        used=one.used,
        unused=one.unused,
        undeclared=one.undeclared,
        hosts=[HostSeenView(host=each.host, declared=each.declared, private=each.inside) for each in one.hosts],
        took_ms=round(one.took_ms, 3),
    )


def _rehearsed(one: RehearsedExample) -> RehearsedView:
    return RehearsedView(
        function=one.function,
        example=one.place,
        status=one.status,
        code=one.code,
        message=one.message,
        skipped=one.skipped,
        wall_ms=round(one.wall_ms, 3),
        cpu_ms=round(one.cpu_ms, 3),
        peak_memory_bytes=one.peak_memory_bytes,
        service_calls=one.service_calls,
        permissions=one.permissions,
        uses=[_use(each) for each in one.uses],
        more_uses=one.more_uses,
    )


def _use(one: ServiceUse) -> ServiceUseView:
    return ServiceUseView(
        service=one.service, method=one.method, target=one.target, refused=one.refused or None, count=one.count
    )
