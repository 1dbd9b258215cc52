-- What an operator decides for a tenant, and how it stands --------------------------------------------------------

alter table plugyard.tenants
  add column bounds jsonb not null default '{}',
  add column state text not null default 'active' check (state in ('active', 'suspended', 'deleting', 'deleted')),
  add column suspended_because text,
  add column suspended_at timestamptz,
  add column deleted_at timestamptz;
create index tenants_being_deleted on plugyard.tenants (id) where state = 'deleting';

-- What the quota of stored bytes counts: the packages of a tenant, each once.
create index plugin_versions_by_tenant_and_digest on plugyard.plugin_versions (tenant_id, digest);

-- The listings of a tenant that is not active are its own to see, and nobody else's.
alter table plugyard.marketplace_listings add column hidden boolean not null default false;
drop policy published_for_all on plugyard.marketplace_listings;
create policy published_for_all on plugyard.marketplace_listings for select
  using (withdrawn_at is null and not hidden and plugyard.current_tenant() is not null);

create function plugyard.hide_listings() returns trigger language plpgsql set search_path = plugyard, pg_temp
as $$
begin
  update plugyard.marketplace_listings set hidden = new.state <> 'active' where tenant_id = new.id;
  return null;
end $$;
create trigger hide_listings after update of state on plugyard.tenants for each row
  when (old.state is distinct from new.state) execute function plugyard.hide_listings();
