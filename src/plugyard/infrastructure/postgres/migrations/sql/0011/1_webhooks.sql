-- Webhooks, and what they took lately -------------------------------------------------------------------------------

-- An address that anyone may send to; the token in it is stored as a hash, the secrets are sealed by the service.
create table plugyard.webhooks (
  id uuid primary key,
  tenant_id uuid not null references plugyard.tenants (id),
  plugin_id uuid not null,
  name text not null check (name <> ''),
  path text not null check (path like '/%'),
  scheme text not null check (scheme in ('plugyard', 'stripe', 'slack', 'github')),
  token_hash bytea not null unique check (octet_length(token_hash) = 32),
  sealed_secrets bytea not null,
  sealed_by text not null,
  previous_until timestamptz,
  created_at timestamptz not null,
  revoked_at timestamptz,
  last_used_at timestamptz,
  unique (tenant_id, id),
  foreign key (tenant_id, plugin_id) references plugyard.plugins (tenant_id, id)
);
create index webhooks_by_age on plugyard.webhooks (tenant_id, plugin_id, created_at desc, id desc);
create index webhooks_by_key on plugyard.webhooks (sealed_by);
call plugyard.isolate('plugyard.webhooks');

-- The hashes of what was signed, for as long as it could be sent again.
create table plugyard.webhook_deliveries (
  tenant_id uuid not null,
  webhook_id uuid not null,
  signed bytea not null check (octet_length(signed) = 32),
  taken_at timestamptz not null,
  primary key (webhook_id, signed),
  foreign key (tenant_id, webhook_id) references plugyard.webhooks (tenant_id, id)
);
create index webhook_deliveries_by_age on plugyard.webhook_deliveries (webhook_id, taken_at);
create index webhook_deliveries_by_tenant on plugyard.webhook_deliveries (tenant_id, webhook_id);
call plugyard.isolate('plugyard.webhook_deliveries');

-- An address is looked up before its tenant is known, hence with the definer's reach, and by its whole hash alone.
create function plugyard.webhook_by_hash(wanted bytea) returns setof plugyard.webhooks
language plpgsql security definer rows 1 set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  return query select * from plugyard.webhooks where token_hash = wanted;
  perform plugyard.stop_crossing(before);
end $$;
revoke execute on function plugyard.webhook_by_hash(bytea) from public;
