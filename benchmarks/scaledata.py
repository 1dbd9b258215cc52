"""Fills a database with what a large installation holds: set-based, as the owner, with a few tenants having most.

Used by `scale.py` and by the test that runs it small. Everything is made from numbers alone, so that two loads of one
size hold the same. The trail's entries have links but no hashes that would verify.
"""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg

from plugyard.domain.manifest import Manifest
from plugyard.domain.report import Finding, Report, Severity
from plugyard.infrastructure.postgres.precedence import precedence_key
from plugyard.infrastructure.postgres.words import manifest_words

CATEGORIES = ("utility", "finance", "text", "integration", "analytics", "security")
RUNTIMES = ("python", "javascript", "wasm")
_NOUNS = (
    "invoice",
    "ledger",
    "calendar",
    "search",
    "image",
    "report",
    "mail",
    "queue",
    "tax",
    "route",
    "price",
    "stock",
)
_VERBS = ("sorts", "checks", "joins", "counts", "sends", "draws", "reads", "cleans")
_STATES = (
    *("active",) * 70,
    *("inactive",) * 10,
    *("installed",) * 8,
    *("validated",) * 5,
    *("uninstalled",) * 4,
    *("rejected", "suspended", "quarantined"),
)


@dataclass(frozen=True)
class Size:
    """How much there is of what; the executions and their log lines are spread over so many days, up to now."""

    tenants: int = 500
    plugins: int = 10_000
    executions: int = 1_000_000
    lines_each: int = 10
    days: int = 30
    listings: int = 2_000
    ratings: int = 20_000
    audit: int = 100_000
    keys: int = 12_000
    standings: int = 12_000


def small() -> Size:
    """As much as a test can load in seconds, with the tables still over the size that may be scanned."""
    return Size(60, 2_500, 20_000, 3, 6, 600, 4_000, 12_000, 1_500, 3_000)


# An id of version 7 from a time and a text that makes it unlike others of the same millisecond; and a number below
# `count` by a text, the low ones far more often than the others.
_V7 = """
create or replace function pg_temp.v7(at timestamptz, salt text) returns uuid language sql immutable as $$
  select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(salt), 1, 3)
    || '8' || substr(md5(salt), 4, 15))::uuid $$;
create or replace function pg_temp.skewed(count int, salt text, skew int) returns float8 language sql immutable as $$
  select floor(count * power(('x' || substr(md5(salt), 1, 7))::bit(28)::int / 268435456.0, skew)) $$
"""


def load(owner_url: str, size: Size, say: Callable[[str], None] = lambda _: None) -> dict[str, float]:
    """Loads a migrated, empty database; answers how many seconds each part took."""
    took: dict[str, float] = {}
    options = "-c search_path=plugyard -c plugyard.operator=on -c timezone=UTC"
    with psycopg.connect(owner_url, autocommit=True, options=options) as owner:
        owner.execute(_V7)
        owner.execute("select setseed(0.5)")
        for name, step in (
            ("tenants and plugins", _plugins),
            ("marketplace", _marketplace),
            ("trail, keys, standings", _rest),
            ("executions and logs", _executions),
            ("rollups", _rollups),
            ("analyze", _analyze),
        ):
            begin = time.perf_counter()
            with_time(owner, size, step)
            took[name] = round(time.perf_counter() - begin, 2)
            say(f"{name}: {took[name]} s")
    return took


def _run(owner: psycopg.Connection, statement: str, given: Any = None) -> None:
    """Runs a statement; the remainder's sign in it need not be doubled."""
    owner.execute(statement.replace(" % ", " %% ") if given is not None else statement, given)


def with_time(
    owner: psycopg.Connection, size: Size, step: Callable[[psycopg.Connection, Size, datetime], None]
) -> None:
    """Runs a step with the moment that all times count from, which the database remembers."""
    _run(owner, "create temp table if not exists began as select now() as at")
    row = owner.execute("select at from began").fetchone()
    step(owner, size, row[0] if row else datetime.now(UTC))


def a_manifest(number: int, version: str) -> Manifest:
    """The manifest of the plugin with a number."""
    noun, verb = _NOUNS[number % len(_NOUNS)], _VERBS[number // 7 % len(_VERBS)]
    document = {
        "metadata": {
            "name": f"{noun}-{verb}-{number}",
            "version": version,
            "description": f"A plugin that {verb} every {noun} it is given, number {number % 97}",
            "author": f"author-{number % 211}",
            "category": CATEGORIES[number % len(CATEGORIES)],
            "keywords": [noun, verb, f"k{number % 53}"],
            "license": "Apache-2.0",
        },
        "runtime": RUNTIMES[number % len(RUNTIMES)],
        "security": {
            "permissions": [
                "cache",
                {"service": "network", "hosts": [f"api-{number % 31}.example.com"], "reason": "asks"},
            ]
            if number % 2
            else ["database"],
            "resourceLimits": {"memory": 64, "timeout": 1000},
        },
        "functions": {
            name: {"description": f"{name} of {noun}", "input": {"type": "object"}, "effect": "read"}
            for name in ("run", "check", "explain")
        },
    }
    return Manifest.from_document(document, entry="main.py")


def _report(digest: str) -> dict[str, Any]:
    finding = Finding("manifest.author", Severity.WARNING, "plugin.json#/metadata", "what", "why", "mend", 7)
    found: dict[str, Any] = msgspec.to_builtins(Report((finding,), digest, "zip", 4_000, 9_000, 3, 1.5))
    return found


def _plugins(owner: psycopg.Connection, size: Size, now: datetime) -> None:
    _run(
        owner,
        """insert into tenants (id, slug, name, created_at)
        select pg_temp.v7(%(now)s - interval '400 days' + n * interval '1 hour', 'tenant' || n), 'tenant-' || n,
          'Tenant ' || n, %(now)s - interval '400 days' + n * interval '1 hour' from generate_series(0, %(n)s - 1) n""",
        {"now": now, "n": size.tenants},
    )
    chance = random.Random(1)
    _run(
        owner,
        "create temp table given (n int, tenant int, version text, precedence text, name text, state text, "
        "digest text, "
        "manifest jsonb, report jsonb, runtime text, category text, author text, permissions text[], words text[])",
    )
    with owner.cursor().copy("copy given from stdin") as copy:
        for number in range(size.plugins):
            # The first plugins, which run most, are the first tenant's.
            tenant = 0 if number < 10 else int(size.tenants * chance.random() ** 4)
            state = "active" if number < 10 else _STATES[chance.randrange(len(_STATES))]
            for version in ("1.0.0", "1.1.0"):
                manifest = a_manifest(number, version)
                digest = f"sha256:{number:058d}{version.replace('.', '0')}"
                copy.write_row(
                    [
                        number,
                        tenant,
                        version,
                        precedence_key(manifest.version),
                        manifest.name,
                        state,
                        digest,
                        json.dumps(manifest.document),
                        json.dumps(_report(digest)),
                        manifest.runtime.value,
                        manifest.category,
                        manifest.author,
                        [one.service.value for one in manifest.permissions],
                        list(manifest_words(manifest)),
                    ]
                )
    with owner.transaction():
        _run(
            owner,
            """insert into plugins (id, tenant_id, name, state, version_id, grants, installed_at, activated_at,
              health_status, health_score, created_at, updated_at)
            select pg_temp.v7(at, 'plugin' || g.n), t.id, g.name, g.state,
              pg_temp.v7(at, g.n || 'version' || g.version),
              '["cache"]', at, at, 'healthy', 70 + g.n % 31, at, at + g.n % 1000 * interval '1 hour'
            from given g join tenants t on t.slug = 'tenant-' || g.tenant
            cross join lateral (select %(now)s - interval '380 days' + g.n * interval '45 minutes' as at) a
            where g.version = '1.0.0'""",
            {"now": now},
        )
        _run(
            owner,
            """insert into plugin_versions (id, tenant_id, plugin_id, version, precedence, digest, entry, manifest,
              report, exports, runtime, category, author, permissions, words, created_at)
            select pg_temp.v7(at, g.n || 'version' || g.version), t.id, pg_temp.v7(at, 'plugin' || g.n), g.version,
              g.precedence, g.digest, 'main.py', g.manifest, g.report, '["run", "check"]', g.runtime, g.category,
              g.author, g.permissions, array_to_tsvector(g.words), at
            from given g join tenants t on t.slug = 'tenant-' || g.tenant
            cross join lateral (select %(now)s - interval '380 days' + g.n * interval '45 minutes' as at) a""",
            {"now": now},
        )
    # By their numbers, so that what follows can pick plugins by chance.
    _run(
        owner,
        "create temp table numbered as select p.id, p.tenant_id, p.version_id, p.name, p.created_at, "
        "row_number() over (order by p.created_at, p.id) - 1 as place from plugins p",
    )
    _run(owner, "create unique index on numbered (place)")
    _run(owner, "analyze numbered")


def _marketplace(owner: psycopg.Connection, size: Size, now: datetime) -> None:
    offered = (
        "select * from numbered where place % greatest(1, %(plugins)s / %(listings)s) = 0 "
        "order by place limit %(listings)s"
    )
    given = {
        "now": now,
        "plugins": size.plugins,
        "listings": size.listings,
        "ratings": size.ratings,
        "tenants": size.tenants,
    }
    _run(owner, f"insert into listing_names (name, tenant_id) select name, tenant_id from ({offered}) o", given)
    _run(
        owner,
        f"""insert into marketplace_listings (id, tenant_id, plugin_id, version_id, name, version, digest, entry,
          manifest, exports, packed_bytes, category, words, published_at, installations, health_score, precedence)
        select pg_temp.v7(o.created_at, 'listing' || o.place), o.tenant_id, o.id, v.id, o.name, v.version, v.digest,
          v.entry, v.manifest, v.exports, 4000, v.category, v.words, o.created_at, (10000 * power(random(), 8))::int,
          70 + o.place % 31, v.precedence
        from ({offered}) o join plugin_versions v on v.id = o.version_id""",
        given,
    )
    # One sum for each listing, in place of one for each rating.
    _run(owner, "alter table plugin_ratings disable trigger sum_ratings")
    _run(
        owner,
        """insert into plugin_ratings (tenant_id, listing_id, stars, review, created_at, updated_at)
        select t.id, l.id, 1 + (random() * 4)::int, 'It works.', at, at
        from generate_series(1, %(ratings)s) n (n)
        join (select id, row_number() over () - 1 as n from tenants) t on t.n = n.n * 7919 % %(tenants)s
        join (select id, row_number() over (order by id) - 1 as n from marketplace_listings) l
          on l.n = pg_temp.skewed(%(listings)s, 'r' || n.n, 3)
        cross join lateral (select %(now)s - n.n * interval '3 minutes' as at) a
        on conflict do nothing""",
        given,
    )
    _run(
        owner,
        """update marketplace_listings l set rating_sum = r.stars, rating_count = r.n
        from (select listing_id, sum(stars) as stars, count(*) as n from plugin_ratings group by 1) r
        where r.listing_id = l.id""",
    )
    _run(owner, "alter table plugin_ratings enable trigger sum_ratings")


def _rest(owner: psycopg.Connection, size: Size, now: datetime) -> None:
    given = {
        "now": now,
        "plugins": size.plugins,
        "n": size.audit,
        "keys": size.keys,
        "standings": size.standings,
        "tenants": size.tenants,
    }
    _run(owner, "alter table audit_log disable trigger chained")
    _run(
        owner,
        """insert into audit_log (id, tenant_id, at, actor, action, target, request_id)
        select pg_temp.v7(at, 'entry' || n), p.tenant_id, at, 'key:' || n % 41,
          (array['plugin.upload', 'plugin.install', 'plugin.activate', 'security.violated', 'key.create'])[1 + n % 5],
          'plugin:' || p.id, 'request-' || n
        from generate_series(1, %(n)s) n
        join numbered p on p.place = pg_temp.skewed(%(plugins)s, 'a' || n, 4)
        cross join lateral (select %(now)s - (%(n)s - n) * interval '5 minutes' as at) a""",
        given,
    )
    _run(
        owner,
        """insert into audit_links (chain, sequence, tenant_id, entry_id, hash)
        select tenant_id, row_number() over (partition by tenant_id order by id), tenant_id, id, sha256(id::text::bytea)
        from audit_log""",
    )
    _run(
        owner,
        """insert into audit_heads (chain, tenant_id, sequence, hash)
        select chain, tenant_id, max(sequence), (array_agg(hash order by sequence desc))[1]
        from audit_links group by 1, 2""",
    )
    _run(owner, "alter table audit_log enable trigger chained")
    _run(
        owner,
        """insert into api_keys (id, tenant_id, name, role, secret_hash, created_at)
        select pg_temp.v7(at, 'key' || n.n), t.id, 'key ' || n.n, 'developer', sha256(('key' || n.n)::bytea), at
        from generate_series(1, %(keys)s) n (n)
        join (select id, row_number() over (order by id) - 1 as n from tenants) t
          on t.n = pg_temp.skewed(%(tenants)s, 'k' || n.n, 4)
        cross join lateral (select %(now)s - n.n * interval '20 minutes' as at) a""",
        given,
    )
    _run(
        owner,
        """insert into version_standings (version_id, tenant_id, plugin_id, name, version, digest, state, since,
          decided_at, decided_by, reason)
        select v.id, v.tenant_id, v.plugin_id, p.name, v.version, v.digest,
          case when p.place % 20 = 0 then 'quarantined' when p.place % 20 = 1 then 'refused' else 'released' end,
          v.created_at, v.created_at, 'key:1', 'looked at'
        from plugin_versions v join numbered p on p.id = v.plugin_id order by v.id limit %(standings)s""",
        given,
    )
    _run(
        owner,
        """insert into version_rescans (version_id, tenant_id, rules_version, at, findings)
        select v.id, v.tenant_id, 'r1', v.created_at + interval '1 day',
          case when p.place % 20 = 3 then jsonb_build_array(v.report #> '{findings,0}') else '[]' end
        from plugin_versions v join numbered p on p.id = v.plugin_id order by v.id limit %(standings)s""",
        given,
    )
    _run(
        owner,
        """insert into publishers (tenant_id, name, skeleton, verified_at, verified_by)
        select id, 'Publisher of ' || slug, slug, created_at, 'key:1' from tenants""",
    )
    _run(
        owner,
        """insert into publisher_keys (tenant_id, id, name, public_key, created_at)
        select id, encode(sha256((slug || n)::bytea), 'hex'), 'release ' || n, sha256((slug || n)::bytea),
          created_at + n * interval '1 day' from tenants cross join generate_series(1, 24) n""",
    )
    _run(
        owner,
        """insert into version_origins (version_id, tenant_id, publisher_id)
        select version_id, tenant_id, tenant_id from numbered""",
    )
    _run(
        owner,
        """insert into used_rights (tenant_id, plugin_id, service, name, first_used_at, last_used_at)
        select tenant_id, id, service, '', created_at, created_at from numbered
        cross join (values ('cache'), ('network')) s (service)""",
    )
    _run(
        owner,
        """insert into outbox (id, tenant_id, plugin_id, type, occurred_at, data, published_at)
        select pg_temp.v7(at, 'event' || n), p.tenant_id, p.id, 'plugin.health_checked', at, '{"score": 97}', at
        from generate_series(1, %(n)s / 2) n join numbered p on p.place = n % %(plugins)s
        cross join lateral (select %(now)s - (%(n)s / 2 - n) * interval '10 seconds' as at) a""",
        given,
    )
    _run(
        owner,
        """insert into idempotency_keys (tenant_id, plugin_id, key, request_hash, execution_id, created_at)
        select p.tenant_id, p.id, 'order-' || n, md5('h' || n), pg_temp.v7(at, 'execution' || n), at
        from generate_series(1, %(n)s / 4) n join numbered p on p.place = n % %(plugins)s
        cross join lateral (select %(now)s - n * interval '3 seconds' as at) a""",
        given,
    )


_EXECUTIONS = """
insert into plugin_executions (id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms,
  cpu_ms, peak_memory_bytes, service_calls, start, error_code, error_message, actor, request_id, input_bytes,
  output_bytes, logs)
select pg_temp.v7(at, 'execution' || n), p.tenant_id, p.id, case when n % 50 = 0 then '1.1.0' else '1.0.0' end,
  (array['run', 'run', 'run', 'check', 'explain'])[1 + n % 5], status, at, at + wall * interval '1 millisecond', wall,
  wall / 3, 6291456, 2, case when n % 40 = 0 then 'spare' else 'warm' end,
  case when status <> 'succeeded' then status end, case when status <> 'succeeded' then 'It went wrong.' end,
  'key:' || n % 41, 'request-' || n, 170, 420, %(lines)s
from generate_series(%(first)s::bigint, %(last)s::bigint) n
cross join lateral (select %(began)s + n * %(step)s::interval as at, random() as a, random() as b, random() as c) r
cross join lateral (select 1.2 * exp(0.8 * sqrt(-2 * ln(1 - r.a)) * cos(2 * pi() * r.b)) as wall,
  case when r.c < 0.96 then 'succeeded' when r.c < 0.985 then 'failed' when r.c < 0.99 then 'timed_out'
    when r.c < 0.994 then 'cancelled' when r.c < 0.997 then 'out_of_memory' else 'cpu_exceeded' end as status) w
join numbered p on p.place = pg_temp.skewed(%(plugins)s, 'e' || n, 4)
"""
_LOGS = """
insert into plugin_logs (id, tenant_id, plugin_id, execution_id, at, level, message, fields)
select pg_temp.v7(e.started_at, e.id::text || line), e.tenant_id, e.plugin_id, e.id, e.started_at,
  case when line % 10 = 9 then 'debug' when e.status <> 'succeeded' and line = 1 then 'error'
    when line % 7 = 6 then 'warning' else 'info' end,
  'step ' || line || ' of order ' || substr(md5(e.id::text), 1, 12) || ' took as long as it takes', '{"n": 1}'
from plugin_executions e cross join generate_series(1, %(lines)s) line
where e.started_at >= %(since)s and e.started_at < %(until)s
"""


def _executions(owner: psycopg.Connection, size: Size, now: datetime) -> None:
    began = now - timedelta(days=size.days)
    step = timedelta(days=size.days) / size.executions
    day = began.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = 0
    while first < size.executions:
        after = day + timedelta(days=1)
        last = min(size.executions - 1, int((after - began) / step) - 1)
        # The partition is made in the transaction that fills it, which spares the write-ahead log.
        with owner.transaction():
            _run(owner, "call make_partition('plugin_executions', 'started_at', %s)", [day.date()])
            _run(owner, "call make_partition('plugin_logs', 'at', %s)", [day.date()])
            given = {
                "first": first,
                "last": last,
                "began": began,
                "step": f"{size.days * 86_400_000_000 / size.executions} microseconds",
                "plugins": size.plugins,
                "lines": size.lines_each,
            }
            _run(owner, _EXECUTIONS, given)
            _run(owner, _LOGS, {"lines": size.lines_each, "since": day, "until": after})
        first, day = last + 1, after


def _rollups(owner: psycopg.Connection, size: Size, now: datetime) -> None:
    _run(owner, "select count_anew()")


def _analyze(owner: psycopg.Connection, size: Size, now: datetime) -> None:
    _run(owner, "vacuum analyze")
