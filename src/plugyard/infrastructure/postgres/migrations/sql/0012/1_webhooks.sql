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
create table plugyard.webhook_taken (
  tenant_id uuid not null,
  webhook_id uuid not null,
  signed bytea not null check (octet_length(signed) = 32),
  taken_at timestamptz not null,
  primary key (webhook_id, signed),
  foreign key (tenant_id, webhook_id) references plugyard.webhooks (tenant_id, id)
);
create index webhook_taken_by_age on plugyard.webhook_taken (webhook_id, taken_at);
create index webhook_taken_by_tenant on plugyard.webhook_taken (tenant_id, webhook_id);
call plugyard.isolate('plugyard.webhook_taken');

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

-- A replica keeps a copy for a moment, so that each delivery need not ask; a change is told at once, as of 0009.
create function plugyard.tell_of_webhooks() returns trigger language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  teller text := coalesce(nullif(current_setting('plugyard.replica', true), ''), '-');
begin
  perform pg_notify('plugyard_changes', format('%s webhook %s %s', teller, new.tenant_id, new.id));
  return null;
end $$;
revoke execute on function plugyard.tell_of_webhooks() from public;
create trigger tell_of_webhooks after update on plugyard.webhooks for each row when (
  (old.sealed_secrets, old.previous_until, old.revoked_at)
    is distinct from (new.sealed_secrets, new.previous_until, new.revoked_at))
  execute function plugyard.tell_of_webhooks();
