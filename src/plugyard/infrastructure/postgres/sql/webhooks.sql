-- Webhooks and what they took. Used by webhooks.py.

-- # add webhook
insert into plugyard.webhooks (
  id, tenant_id, plugin_id, name, path, scheme, token_hash, sealed_secrets, sealed_by, previous_until, created_at,
  revoked_at, last_used_at)
values (
  %(id)s, %(tenant_id)s, %(plugin_id)s, %(name)s, %(path)s, %(scheme)s, %(token_hash)s, %(sealed_secrets)s,
  %(sealed_by)s, %(previous_until)s, %(created_at)s, %(revoked_at)s, %(last_used_at)s);

-- # webhook
select id, tenant_id, plugin_id, name, path, scheme, sealed_secrets, sealed_by, previous_until, created_at, revoked_at,
  last_used_at
from plugyard.webhooks where tenant_id = plugyard.current_tenant() and id = %(id)s;

-- # webhook, locked
select id, tenant_id, plugin_id, name, path, scheme, sealed_secrets, sealed_by, previous_until, created_at, revoked_at,
  last_used_at
from plugyard.webhooks where tenant_id = plugyard.current_tenant() and id = %(id)s for update;

-- # webhook by hash
select id, tenant_id, plugin_id, name, path, scheme, sealed_secrets, sealed_by, previous_until, created_at, revoked_at,
  last_used_at
from plugyard.webhook_by_hash(%(token_hash)s);

-- # save webhook
update plugyard.webhooks set
  sealed_secrets = %(sealed_secrets)s, sealed_by = %(sealed_by)s, previous_until = %(previous_until)s,
  revoked_at = coalesce(revoked_at, %(revoked_at)s)
where tenant_id = %(tenant_id)s and id = %(id)s;

-- # count webhooks
select count(*) as n from plugyard.webhooks
where tenant_id = plugyard.current_tenant() and plugin_id = %(plugin_id)s and revoked_at is null;

-- # claim delivery
-- What others forget at this moment is left to them, and the webhook is touched last: so nobody waits in a circle.
with forgotten as (
  delete from plugyard.webhook_taken where (webhook_id, signed) in (
    select webhook_id, signed from plugyard.webhook_taken
    where tenant_id = plugyard.current_tenant() and webhook_id = %(webhook_id)s and taken_at < %(known_since)s
      and signed <> %(signed)s
    limit 1000 for update skip locked)),
claimed as (
  insert into plugyard.webhook_taken as known (tenant_id, webhook_id, signed, taken_at, holder)
  values (
    plugyard.current_tenant(), %(webhook_id)s, %(signed)s, %(taken_at)s,
    nullif(current_setting('plugyard.replica', true), ''))
  on conflict (webhook_id, signed) do update set taken_at = excluded.taken_at, holder = excluded.holder
    where known.taken_at < %(known_since)s
  returning webhook_id),
touched as (
  update plugyard.webhooks set last_used_at = %(taken_at)s
  where tenant_id = plugyard.current_tenant() and id in (select webhook_id from claimed)
    and (last_used_at is null or last_used_at < %(taken_at)s - interval '60 seconds'))
select count(*) as n from claimed;

-- # release delivery
delete from plugyard.webhook_taken
where tenant_id = plugyard.current_tenant() and webhook_id = %(webhook_id)s and signed = %(signed)s
  and holder is not distinct from nullif(current_setting('plugyard.replica', true), '');

-- # abandoned delivery
select 1 from plugyard.webhook_taken
where tenant_id = plugyard.current_tenant() and webhook_id = %(webhook_id)s and signed = %(signed)s
  and case when holder is not null then not plugyard.lives(holder) else false end;

-- # take over delivery
update plugyard.webhook_taken set holder = nullif(current_setting('plugyard.replica', true), '')
where tenant_id = plugyard.current_tenant() and webhook_id = %(webhook_id)s and signed = %(signed)s
  and case when holder is not null then not plugyard.lives(holder) else false end
returning 1;

-- # settle delivery
update plugyard.webhook_taken set holder = null
where tenant_id = plugyard.current_tenant() and webhook_id = %(webhook_id)s and signed = %(signed)s
  and holder = nullif(current_setting('plugyard.replica', true), '');
