"""Looks for everything that was acknowledged: in the database, in the bucket, and in what the broker has."""

from collections import Counter
from dataclasses import dataclass, field

import psycopg

from tests.faults.load import Ledger


@dataclass
class Verdict:
    """What was looked for, and what of it was not there, or there twice."""

    executions: int = 0
    queued: int = 0
    uploads: int = 0
    events: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is lost and nothing is there twice."""
        return not self.lost and not self.twice


def audited(ledger: Ledger, superuser_url: str, packages: set[str], arrived: dict[str, set[str]]) -> Verdict:
    """``packages`` are the digests whose bytes the bucket has.

    ``arrived`` is what the broker has: the event ids of each execution's end, by the execution's id.
    """
    verdict = Verdict(len(ledger.executed), len(ledger.queued), len(ledger.uploaded))
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        rows = connection.execute("select id::text, request_id, status from plugyard.plugin_executions").fetchall()
        versions = dict(
            connection.execute(
                "select version, digest from plugyard.plugin_versions where manifest #>> '{metadata,name}' = 'uploaded'"
            ).fetchall()
        )
        unfinished = dict(
            connection.execute(
                "select id::text, state from plugyard.queued_executions where state in ('queued', 'parked', 'running')"
            ).fetchall()
        )
        waiting = connection.execute("select count(*) from plugyard.outbox where published_at is null").fetchone()
    recorded = Counter(row[0] for row in rows)
    succeeded = Counter(row[1] for row in rows if row[2] == "succeeded")
    for key, execution in (*ledger.executed.items(), *ledger.queued.items()):
        if recorded[execution] == 0:
            verdict.lost.append(f"execution {execution}")
        if recorded[execution] > 1 or succeeded[key] > 1:
            verdict.twice.append(f"execution {execution}, request {key}")
    verdict.lost += [
        f"queued execution {one} is {unfinished[one]}" for one in ledger.queued.values() if one in unfinished
    ]
    for version, digest in ledger.uploaded.items():
        if versions.get(version) != digest.removeprefix("sha256:"):
            verdict.lost.append(f"upload {version}")
        if digest.removeprefix("sha256:") not in packages:
            verdict.lost.append(f"the bytes of upload {version}")
    if waiting is not None and waiting[0]:
        verdict.lost.append(f"{waiting[0]} events wait in the outbox")
    for execution in (*ledger.executed.values(), *ledger.queued.values()):
        found = arrived.get(execution, set())
        verdict.events += len(found)
        if not found:
            verdict.lost.append(f"event of the end of {execution}")
        if len(found) > 1:
            verdict.twice.append(f"events of the end of {execution}: {sorted(found)}")
    return verdict
