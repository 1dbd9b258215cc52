-- Whose rows a statement may touch -------------------------------------------------------------------------------

-- The tenant of this transaction; null, which equals nothing, when none was set.
create function plugyard.current_tenant() returns uuid language sql stable parallel safe
as $$ select nullif(current_setting('plugyard.tenant_id', true), '')::uuid $$;

-- Whether this transaction is the operator's and crosses tenants.
create function plugyard.crosses_tenants() returns boolean language sql stable parallel safe
as $$ select coalesce(current_setting('plugyard.operator', true), '') = 'on' $$;

-- Lets the transaction cross tenants and answers what held before, for `stop_crossing`. The owner is bound by the rules
-- too, so a definer's function that has to cross brackets its statements with these two. A SET clause of the function
-- would be shorter, but only a superuser may name a custom parameter there. An error undoes the setting with the rest.
create function plugyard.start_crossing() returns text language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  before text := coalesce(current_setting('plugyard.operator', true), '');
begin
  perform set_config('plugyard.operator', 'on', true);
  return before;
end $$;

create function plugyard.stop_crossing(before text) returns void language plpgsql set search_path = plugyard, pg_temp
as $$
begin
  perform set_config('plugyard.operator', before, true);
end $$;

-- Gives a table the rule that every tenant table has. The owner is bound by it too.
create procedure plugyard.isolate(target regclass, tenant_column text default 'tenant_id') language plpgsql
as $$
begin
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format(
    'create policy of_the_tenant on %s using (%I = plugyard.current_tenant() or plugyard.crosses_tenants())',
    target, tenant_column);
end $$;

-- Sets updated_at where a statement changes a row and does not say when.
create function plugyard.touch() returns trigger language plpgsql set search_path = plugyard, pg_temp
as $$
begin
  if new.updated_at is not distinct from old.updated_at then
    new.updated_at := clock_timestamp();
  end if;
  return new;
end $$;

-- Tenants and their keys -----------------------------------------------------------------------------------------

create table plugyard.tenants (
  id uuid primary key,
  slug text not null unique,
  name text not null,
  policy jsonb not null default '{}',
  created_at timestamptz not null,
  updated_at timestamptz not null default now()
);
create index tenants_by_age on plugyard.tenants (created_at desc, id desc);
call plugyard.isolate('plugyard.tenants', 'id');
create trigger touch before update on plugyard.tenants for each row execute function plugyard.touch();

create table plugyard.api_keys (
  id uuid primary key,
  tenant_id uuid references plugyard.tenants (id),
  name text not null,
  role text not null check (role in ('viewer', 'developer', 'admin', 'operator')),
  secret_hash bytea not null unique,
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  -- Only an operator's key belongs to no tenant.
  check (tenant_id is not null or role = 'operator')
);
create index api_keys_by_age on plugyard.api_keys (tenant_id, created_at desc, id desc);
call plugyard.isolate('plugyard.api_keys');

-- A key is looked up before its tenant is known, hence with the definer's reach, and by its whole hash alone.
create function plugyard.key_by_hash(wanted bytea) returns setof plugyard.api_keys
language plpgsql security definer rows 1 set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  return query select * from plugyard.api_keys where secret_hash = wanted;
  perform plugyard.stop_crossing(before);
end $$;

-- Notes when keys were last used; keys of many tenants come together, so that no request waits for it.
create function plugyard.touch_keys(ids uuid[], moments timestamptz[]) returns void
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  update plugyard.api_keys k set last_used_at = greatest(k.last_used_at, used.moment)
  from unnest(ids, moments) as used (id, moment) where k.id = used.id;
  perform plugyard.stop_crossing(before);
end $$;

-- Plugins --------------------------------------------------------------------------------------------------------

create table plugyard.plugins (
  id uuid primary key,
  tenant_id uuid not null references plugyard.tenants (id),
  name text not null,
  state text not null check (state in ('pending', 'validated', 'rejected', 'quarantined', 'installed', 'active',
                                       'inactive', 'suspended', 'uninstalled')),
  version_id uuid not null,
  previous_version_id uuid,
  origin_listing_id uuid,
  configuration jsonb not null default '{}',
  secrets jsonb not null default '{}',
  grants jsonb not null default '[]',
  installed_at timestamptz,
  activated_at timestamptz,
  suspended_because text,
  health_status text not null default 'unknown'
    check (health_status in ('unknown', 'healthy', 'degraded', 'unhealthy')),
  health_score integer check (health_score between 0 and 100),
  health_checked_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- Foreign keys look past row-level security; naming the tenant in them keeps references inside it.
  unique (tenant_id, id)
);
create unique index plugins_one_per_name on plugyard.plugins (tenant_id, name) where state <> 'uninstalled';
create index plugins_by_creation on plugyard.plugins (tenant_id, created_at, id);
create index plugins_by_change on plugyard.plugins (tenant_id, updated_at, id);
create index plugins_by_name on plugyard.plugins (tenant_id, name, id);
create index plugins_to_check on plugyard.plugins (health_checked_at nulls first) where state = 'active';
call plugyard.isolate('plugyard.plugins');
-- No touch here: what counts as a change of a plugin is the domain's to say, and a new judgement of its health does not.

create table plugyard.plugin_versions (
  id uuid primary key,
  tenant_id uuid not null,
  plugin_id uuid not null,
  version text not null,
  -- Sorts as Semantic Versioning 2.0.0 section 11 says.
  precedence text collate "C" not null,
  digest text not null check (digest <> ''),
  entry text not null,
  manifest jsonb not null,
  report jsonb not null,
  exports jsonb not null,
  runtime text not null check (runtime in ('javascript', 'python', 'wasm')),
  category text not null,
  author text not null,
  permissions text[] not null,
  words tsvector not null,
  created_at timestamptz not null,
  unique (tenant_id, id),
  constraint plugin_versions_once unique (plugin_id, version),
  foreign key (tenant_id, plugin_id) references plugyard.plugins (tenant_id, id)
);
create index plugin_versions_by_precedence
  on plugyard.plugin_versions (tenant_id, plugin_id, precedence desc, id desc);
create index plugin_versions_by_digest on plugyard.plugin_versions (digest);
create index plugin_versions_by_manifest on plugyard.plugin_versions using gin (manifest jsonb_path_ops);
create index plugin_versions_by_words on plugyard.plugin_versions using gin (words);
call plugyard.isolate('plugyard.plugin_versions');

-- A plugin and its first version name each other, so the last reference is checked at the end of the transaction.
alter table plugyard.plugins
  add foreign key (tenant_id, version_id) references plugyard.plugin_versions (tenant_id, id)
    deferrable initially deferred,
  add foreign key (tenant_id, previous_version_id) references plugyard.plugin_versions (tenant_id, id)
    deferrable initially deferred;

create table plugyard.plugin_dependencies (
  tenant_id uuid not null,
  version_id uuid not null,
  name text not null,
  range text not null,
  resolved_version text not null,
  resolved_plugin_id uuid,
  primary key (version_id, name),
  foreign key (tenant_id, version_id) references plugyard.plugin_versions (tenant_id, id)
);
call plugyard.isolate('plugyard.plugin_dependencies');

-- The trail, the outbox, and requests that may come twice --------------------------------------------------------

create table plugyard.audit_log (
  id uuid primary key,
  tenant_id uuid references plugyard.tenants (id),
  at timestamptz not null,
  actor text not null,
  action text not null,
  target text not null,
  detail jsonb not null default '{}',
  request_id text not null default ''
);
create index audit_log_by_age on plugyard.audit_log (tenant_id, at desc, id desc);
call plugyard.isolate('plugyard.audit_log');

create table plugyard.outbox (
  position bigint generated always as identity primary key,
  id uuid not null unique,
  tenant_id uuid not null,
  plugin_id uuid not null,
  type text not null,
  occurred_at timestamptz not null,
  data jsonb not null,
  published_at timestamptz
);
create index outbox_waiting on plugyard.outbox (position) where published_at is null;
call plugyard.isolate('plugyard.outbox');

create table plugyard.idempotency_keys (
  tenant_id uuid not null,
  plugin_id uuid not null,
  key text not null,
  request_hash text not null,
  execution_id uuid not null,
  response jsonb,
  created_at timestamptz not null,
  primary key (tenant_id, plugin_id, key)
);
create index idempotency_keys_by_age on plugyard.idempotency_keys (created_at);
call plugyard.isolate('plugyard.idempotency_keys');
