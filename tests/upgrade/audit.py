"""Looks for everything that was acknowledged: in the database, and the bytes of packages in the bucket."""

from collections import Counter
from dataclasses import dataclass, field

import psycopg

from tests.upgrade.load import Ledger

WAITS = ("queued", "parked", "running")


@dataclass
class Found:
    """What the database and the bucket have."""

    records: list[tuple[str, str, str]] = field(default_factory=list)  # execution, request, status
    waiting: dict[str, str] = field(default_factory=dict)  # queued executions that have not ended, and their states
    ends: Counter[str] = field(default_factory=Counter)  # executions, by how many events of their ends there are
    told: Counter[str] = field(default_factory=Counter)  # executions, by how many events they published
    versions: dict[str, str] = field(default_factory=dict)  # of the plugin that is uploaded: version, digest
    objects: set[str] = field(default_factory=set)  # digests of the packages in the bucket
    counted: int = 0  # executions that analytics count


@dataclass
class Verdict:
    """What was looked for, and what of it was not there, or there twice."""

    looked_for: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is lost and nothing is there twice."""
        return not self.lost and not self.twice


def judged(ledger: Ledger, found: Found) -> Verdict:
    """Hold what was acknowledged against what there is."""
    acknowledged = {**ledger.executed, **ledger.queued}
    verdict = Verdict(
        {
            "executions": len(ledger.executed),
            "queued executions": len(ledger.queued),
            "uploads": len(ledger.uploaded),
            "events of ends": len(acknowledged),
            "events published": len(ledger.told),
        }
    )
    recorded = Counter(one for one, _, _ in found.records)
    by_request = Counter(request for _, request, _ in found.records)
    succeeded = {one for one, _, status in found.records if status == "succeeded"}

    def once(what: str, count: int) -> None:
        if count == 0:
            verdict.lost.append(what)
        elif count > 1:
            verdict.twice.append(what)

    for request, execution in acknowledged.items():
        once(f"execution {execution}", recorded[execution])
        once(f"execution of request {request}", by_request[request] + by_request[ledger.second.get(request, "")])
        once(f"event of the end of {execution}", found.ends[execution])
    for execution in ledger.queued.values():
        if execution in found.waiting:
            verdict.lost.append(f"queued execution {execution} is {found.waiting[execution]}")
        elif execution not in succeeded:
            verdict.lost.append(f"queued execution {execution} did not succeed")
    for execution in ledger.told.values():
        once(f"event that {execution} published", found.told[execution])
        # Whoever hears has the execution that spoke for its request.
        once(f"what heard the event of {execution}", by_request[execution])
    for version, digest in ledger.uploaded.items():
        plain = digest.removeprefix("sha256:")
        once(f"upload {version}", int(found.versions.get(version) == plain))
        once(f"bytes of upload {version}", int(plain in found.objects))
    verdict.twice += [f"execution of the repeated request {one}" for one in ledger.repeated if by_request[one]]
    ended = sum(status not in ("queued", "running") for _, _, status in found.records)
    if found.counted != ended:
        sentence = f"analytics count {found.counted} executions, and {ended} have ended"
        (verdict.lost if found.counted < ended else verdict.twice).append(sentence)
    return verdict


def read(superuser_url: str, objects: set[str]) -> Found:
    """What the database has at this moment."""
    with psycopg.connect(superuser_url) as connection:
        # One moment for all: executions are counted while this reads.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        found = Found(objects=objects)
        found.records = connection.execute(
            "select id::text, request_id, status from plugyard.plugin_executions"
        ).fetchall()
        found.waiting = dict(
            connection.execute(
                "select id::text, state from plugyard.queued_executions where state = any(%s)", [list(WAITS)]
            ).fetchall()
        )
        for type_, execution in connection.execute(
            "select type, data ->> 'executionId' from plugyard.outbox where data ? 'executionId'"
        ).fetchall():
            if type_ in ("execution.completed", "execution.failed"):
                found.ends[execution] += 1
            elif type_ == "plugin.event_published":
                found.told[execution] += 1
        found.versions = dict(
            connection.execute(
                "select version, digest from plugyard.plugin_versions where manifest #>> '{metadata,name}' = 'uploaded'"
            ).fetchall()
        )
        (found.counted,) = connection.execute(
            "select (select count(*) from plugyard.uncounted_executions) + "
            "coalesce((select sum(executions) from plugyard.tenant_rollups where grain = 'hour'), 0)::bigint"
        ).fetchone() or (0,)
    return found


def waiting(superuser_url: str) -> int:
    """How many queued executions have not ended, and events of plugins were given to nobody yet."""
    statement = (
        "select (select count(*) from plugyard.queued_executions where state = any(%s)) + "
        "(select count(*) from plugyard.outbox where type = 'plugin.event_published' and delivered_at is null)"
    )
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        row = connection.execute(statement, [list(WAITS)]).fetchone()
    return int(row[0]) if row is not None else 0


def schema_of(superuser_url: str) -> str:
    """A mark of everything that a migration could change: the revision, tables, columns, indexes, functions, rights."""
    statement = """
    select md5(string_agg(line, chr(10) order by line)) from (
      select 'revision ' || version_num from plugyard.alembic_version
      union all select concat_ws(' ', 'column', table_name, column_name, data_type, column_default, is_nullable)
        from information_schema.columns where table_schema like 'plugyard%'
      union all select concat_ws(' ', 'index', indexname, indexdef) from pg_indexes where schemaname like 'plugyard%'
      union all select concat_ws(' ', 'function', p.oid::regprocedure, md5(p.prosrc), p.proacl)
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname like 'plugyard%'
      union all select concat_ws(' ', 'relation', c.oid::regclass, c.relkind, c.relacl, c.reloptions)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname like 'plugyard%'
      union all select concat_ws(' ', 'trigger', tgname, tgrelid::regclass) from pg_trigger) as all_of_it (line)
    """
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
    return str(row[0]) if row is not None else ""
