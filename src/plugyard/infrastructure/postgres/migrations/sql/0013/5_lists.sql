-- What the quota of stored bytes adds up, out of the report, which is too long to read of every version.
alter table plugyard.plugin_versions
  add column packed_bytes bigint generated always as ((report ->> 'packed_bytes')::bigint) stored;
drop index plugyard.plugin_versions_by_tenant_and_digest;
create index plugin_versions_by_tenant_and_digest
  on plugyard.plugin_versions (tenant_id, digest) include (plugin_id, packed_bytes);

-- The quarantine of one tenant, and of one name.
create index version_standings_by_tenant on plugyard.version_standings (tenant_id, state, since, version_id);
create index version_standings_by_name on plugyard.version_standings (name, state, since, version_id);
