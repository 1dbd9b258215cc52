-- The quarantine and the rescan. Used by standings.py.

-- # save standing
insert into plugyard.version_standings (
  version_id, tenant_id, plugin_id, name, version, digest, state, since, decided_at, decided_by, reason)
values (
  %(version_id)s, %(tenant_id)s, %(plugin_id)s, %(name)s, %(version)s, %(digest)s, %(state)s, %(since)s,
  %(decided_at)s, %(decided_by)s, %(reason)s)
on conflict (version_id) do update set
  state = excluded.state, decided_at = excluded.decided_at, decided_by = excluded.decided_by, reason = excluded.reason;

-- # standings
select version_id, tenant_id, plugin_id, name, version, digest, state, since, decided_at, decided_by, reason
from plugyard.version_standings where version_id = any(%(ids)s::uuid[]);

-- # save rescan
insert into plugyard.version_rescans (version_id, tenant_id, rules_version, at, findings)
values (%(version_id)s, %(tenant_id)s, %(rules_version)s, %(at)s, %(findings)s)
on conflict (version_id) do update set
  rules_version = excluded.rules_version, at = excluded.at, findings = excluded.findings;

-- # rescans
select version_id, tenant_id, rules_version, at, findings
from plugyard.version_rescans where version_id = any(%(ids)s::uuid[]);

-- # versions to rescan
with used as (
  select tenant_id, version_id from plugyard.plugins
  where state in ('validated', 'installed', 'active', 'inactive', 'suspended')
  union
  select tenant_id, version_id from plugyard.marketplace_listings where withdrawn_at is null),
  -- Copies from the marketplace have no report of their own; that on the same bytes speaks for them.
  judged as (
  select v.id, v.tenant_id, v.plugin_id, v.digest, v.created_at, coalesce(
    (select o.report from plugyard.plugin_versions o
     where o.digest = v.digest and v.report ->> 'rules_version' = '' and o.report ->> 'rules_version' <> ''
     order by o.created_at, o.id limit 1), v.report) as report
  from used u join plugyard.plugin_versions v on v.tenant_id = u.tenant_id and v.id = u.version_id)
select j.id as version_id, j.tenant_id, j.plugin_id, j.digest, j.report
from judged j left join plugyard.version_rescans r on r.version_id = j.id
where coalesce(r.rules_version, j.report ->> 'rules_version', '') <> %(rules_version)s
  or coalesce(r.at, j.created_at) < (select max(at) from plugyard.rescan_demands)
order by j.created_at desc, j.id desc limit %(limit)s;

-- # count to rescan
with used as (
  select tenant_id, version_id from plugyard.plugins
  where state in ('validated', 'installed', 'active', 'inactive', 'suspended')
  union
  select tenant_id, version_id from plugyard.marketplace_listings where withdrawn_at is null),
  -- Copies from the marketplace have no report of their own; that on the same bytes speaks for them.
  judged as (
  select v.id, v.tenant_id, v.plugin_id, v.digest, v.created_at, coalesce(
    (select o.report from plugyard.plugin_versions o
     where o.digest = v.digest and v.report ->> 'rules_version' = '' and o.report ->> 'rules_version' <> ''
     order by o.created_at, o.id limit 1), v.report) as report
  from used u join plugyard.plugin_versions v on v.tenant_id = u.tenant_id and v.id = u.version_id)
select count(*) as waiting
from judged j left join plugyard.version_rescans r on r.version_id = j.id
where coalesce(r.rules_version, j.report ->> 'rules_version', '') <> %(rules_version)s
  or coalesce(r.at, j.created_at) < (select max(at) from plugyard.rescan_demands);

-- # demand rescan
insert into plugyard.rescan_demands (id, at) values (%(id)s, %(at)s);

-- # installations of digests
select v.digest, p.tenant_id, p.id as plugin_id, p.state
from plugyard.plugin_versions v join plugyard.plugins p on p.tenant_id = v.tenant_id and p.version_id = v.id
where v.digest = any(%(digests)s::text[]) and p.state <> 'uninstalled'
order by v.digest, p.tenant_id, p.id;

-- # holders of a digest
select p.tenant_id, p.id as plugin_id, v.id as version_id
from plugyard.plugin_versions v join plugyard.plugins p on p.tenant_id = v.tenant_id and p.id = v.plugin_id
where v.digest = %(digest)s and p.state <> 'uninstalled'
order by p.tenant_id, p.id, v.id;
