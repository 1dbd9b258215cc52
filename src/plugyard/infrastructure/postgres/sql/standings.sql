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
select v.id as version_id, v.tenant_id, v.plugin_id, v.digest, v.report
from plugyard.plugins p join plugyard.plugin_versions v on v.tenant_id = p.tenant_id and v.id = p.version_id
left join plugyard.version_rescans r on r.version_id = v.id
where p.state in ('validated', 'installed', 'active', 'inactive', 'suspended')
  and (coalesce(r.rules_version, v.report ->> 'rules_version', '') <> %(rules_version)s
       or coalesce(r.at, v.created_at) < (select max(at) from plugyard.rescan_demands))
order by v.created_at desc, v.id desc limit %(limit)s;

-- # count to rescan
select count(*) as waiting
from plugyard.plugins p join plugyard.plugin_versions v on v.tenant_id = p.tenant_id and v.id = p.version_id
left join plugyard.version_rescans r on r.version_id = v.id
where p.state in ('validated', 'installed', 'active', 'inactive', 'suspended')
  and (coalesce(r.rules_version, v.report ->> 'rules_version', '') <> %(rules_version)s
       or coalesce(r.at, v.created_at) < (select max(at) from plugyard.rescan_demands));

-- # demand rescan
insert into plugyard.rescan_demands (id, at) values (%(id)s, %(at)s);

-- # installations of digests
select v.digest, p.tenant_id, p.id as plugin_id, p.state
from plugyard.plugin_versions v join plugyard.plugins p on p.tenant_id = v.tenant_id and p.version_id = v.id
where v.digest = any(%(digests)s::text[]) and p.state <> 'uninstalled'
order by v.digest, p.tenant_id, p.id;
