-- What an operator thinks of suspicious versions, and what later checks found --------------------------------------

create table plugyard.version_standings (
  version_id uuid primary key,
  tenant_id uuid not null,
  plugin_id uuid not null,
  name text not null,
  version text not null,
  digest text not null,
  state text not null check (state in ('quarantined', 'released', 'refused')),
  since timestamptz not null,
  decided_at timestamptz,
  decided_by text,
  reason text,
  -- A decision has its time, its author and its reason.
  check (state = 'quarantined' or (decided_at is not null and decided_by is not null and reason <> '')),
  foreign key (tenant_id, version_id) references plugyard.plugin_versions (tenant_id, id)
);
create index version_standings_by_age on plugyard.version_standings (state, since, version_id);
call plugyard.isolate('plugyard.version_standings');

-- The latest check of each version by other rules than those that let it in; only what its report does not have.
create table plugyard.version_rescans (
  version_id uuid primary key,
  tenant_id uuid not null,
  rules_version text not null,
  at timestamptz not null,
  findings jsonb not null,
  foreign key (tenant_id, version_id) references plugyard.plugin_versions (tenant_id, id)
);
create index version_rescans_with_findings on plugyard.version_rescans (at desc, version_id desc)
  where findings <> '[]';
call plugyard.isolate('plugyard.version_rescans');

-- When an operator asked that everything be checked again.
create table plugyard.rescan_demands (id uuid primary key, at timestamptz not null);
