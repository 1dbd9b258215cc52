"""How many requests a replica works on at a time, and how many uploads: one too many is refused at once.

A replica that takes more than it can do answers all of them late, and goes on doing so after the rush, with work whose
callers have gone. A refusal costs microseconds, says so, and may be sent to another replica as it is: nothing was done.
"""

from collections import Counter
from types import TracebackType

from plugyard.domain.errors import Overloaded, Unavailable
from plugyard.domain.identity import Caller, Role


class Busy(Unavailable):
    """The replica works on as many requests as it takes at a time; nothing of this one was done."""

    code = "busy"


class AtOnce:
    """Counts the requests that are worked on, on one event loop.

    ``most`` is how many there may be, 0 any number; ``share`` is how much of them one tenant may hold, so that its
    requests, or bodies that never end, leave room for the others. Operators are let in at any time: they can end what
    fills it. ``what`` is what refusals call them. A request is worked on until its answer is known. Sending that is not
    counted: how long a stream lasts, or a download, is its reader's choice and costs little.
    """

    def __init__(self, most: int = 0, share: float = 1.0, what: str = "requests") -> None:
        self.most, self.per_tenant, self.what = most, max(1, int(most * share)), what
        self.under_way, self.refused = 0, 0
        self.of_tenants: Counter[str] = Counter()

    def place(self) -> "Place":
        """A place for one request, which is taken as a context manager and lasts as long."""
        return Place(self)


class Place:
    """One request, which is worked on from ``admit`` until the block ends."""

    __slots__ = ("_admitted", "_all", "_tenant_id")

    def __init__(self, all_: AtOnce) -> None:
        self._all, self._admitted, self._tenant_id = all_, False, ""

    def __enter__(self) -> "Place":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all.under_way -= self._admitted
        if self._tenant_id:
            of_tenants = self._all.of_tenants
            of_tenants[self._tenant_id] -= 1
            if not of_tenants[self._tenant_id]:
                del of_tenants[self._tenant_id]

    def admit(self, caller: Caller) -> None:
        """Let the request be worked on. Raises ``Busy``, and ``Overloaded`` where its tenant has its share.

        Whoever is not known yet holds no place, so that strangers fill none.
        """
        all_ = self._all
        if all_.most and caller.role is not Role.OPERATOR:
            if all_.under_way >= all_.most:
                all_.refused += 1
                raise Busy(
                    f"This replica works on {all_.most} {all_.what}, which is as many as it takes at a time. Nothing "
                    "of this one was done; send it again."
                )
            tenant_id = caller.tenant_id or ""
            if all_.of_tenants[tenant_id] >= all_.per_tenant:
                all_.refused += 1
                raise Overloaded(
                    f"{all_.per_tenant} {all_.what} of the tenant are under way on this replica, which leaves the "
                    "rest of its places to others. Nothing of this one was done; send it again."
                )
            self._tenant_id = tenant_id
            all_.of_tenants[tenant_id] += 1
        self._admitted = True
        all_.under_way += 1
