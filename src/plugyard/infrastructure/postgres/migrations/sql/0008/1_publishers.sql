-- Publishers, their keys, and where versions come from -------------------------------------------------------------

-- The name that a tenant publishes by, and whether an operator vouches for it. Every tenant reads it.
create table plugyard.publishers (
  tenant_id uuid primary key references plugyard.tenants (id),
  name text not null check (name <> ''),
  -- What the name is read as, by `publisher_skeleton` in domain/imitation.py.
  skeleton text not null,
  verified_at timestamptz,
  verified_by text,
  check ((verified_at is null) = (verified_by is null))
);
-- Two publishers that an operator vouches for are told apart by their names.
create unique index publishers_verified_names on plugyard.publishers (lower(name)) where verified_at is not null;
create index publishers_by_skeleton on plugyard.publishers (skeleton) where verified_at is not null;
call plugyard.isolate('plugyard.publishers');
create policy known_to_all on plugyard.publishers for select using (plugyard.current_tenant() is not null);

-- Public keys, so every tenant reads them: who installed a copy wants to know whether its key was revoked since.
create table plugyard.publisher_keys (
  tenant_id uuid not null references plugyard.tenants (id),
  id text not null check (id ~ '^[0-9a-f]{64}$'),
  name text not null,
  public_key bytea not null check (octet_length(public_key) = 32),
  created_at timestamptz not null,
  revoked_at timestamptz,
  invalid_from timestamptz,
  revoked_because text,
  primary key (tenant_id, id),
  check ((revoked_at is null) = (invalid_from is null) and (revoked_at is null) = (revoked_because is null))
);
create index publisher_keys_by_age on plugyard.publisher_keys (tenant_id, created_at desc, id desc);
call plugyard.isolate('plugyard.publisher_keys');
create policy known_to_all on plugyard.publisher_keys for select using (plugyard.current_tenant() is not null);

-- Which tenant published a version, where that is not the one that holds it, and its signature where it has one. The
-- publisher may be gone while its copies stay, so nothing refers to it.
create table plugyard.version_origins (
  version_id uuid primary key,
  tenant_id uuid not null,
  publisher_id uuid not null,
  signature jsonb,
  foreign key (tenant_id, version_id) references plugyard.plugin_versions (tenant_id, id)
);
call plugyard.isolate('plugyard.version_origins');

alter table plugyard.marketplace_listings add column signature jsonb;

-- What a name is read as: the same rule as `skeleton` in domain/imitation.py.
create function plugyard.skeleton(name text) returns text language sql immutable strict parallel safe
as $$
  select replace(replace(replace(translate(lower(name), '01-_.', 'ol'), 'rn', 'm'), 'vv', 'w'), 'cl', 'd')
$$;
revoke execute on function plugyard.skeleton(text) from public;
alter table plugyard.marketplace_listings
  add column skeleton text collate "C" generated always as (plugyard.skeleton(name)) stored;
-- Whoever looks for names that are one slip apart looks for the beginning or for the end.
create index marketplace_listings_by_skeleton on plugyard.marketplace_listings (skeleton) where withdrawn_at is null;
create index marketplace_listings_by_skeletons_end
  on plugyard.marketplace_listings (reverse(skeleton) collate "C") where withdrawn_at is null;

-- What was installed from the marketplace before came from the listing's tenant.
do $$
declare
  before text := plugyard.start_crossing();
begin
  insert into plugyard.version_origins (version_id, tenant_id, publisher_id)
  select v.id, v.tenant_id, l.tenant_id
  from plugyard.plugins p
  join plugyard.marketplace_listings l on l.id = p.origin_listing_id
  join plugyard.plugin_versions v on v.tenant_id = p.tenant_id and v.plugin_id = p.id
  on conflict do nothing;
  perform plugyard.stop_crossing(before);
end $$;
