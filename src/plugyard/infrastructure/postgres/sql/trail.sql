-- Tenants, keys, the outbox, idempotency. Used by trail.py, operator.py and store.py.

-- # add tenant
insert into plugyard.tenants (id, slug, name, policy, created_at, updated_at)
values (%(id)s, %(slug)s, %(name)s, %(policy)s, %(created_at)s, %(created_at)s);

-- # tenant by id
select id, slug, name, policy, created_at, modules_denied, bounds, state, suspended_because, suspended_at
from plugyard.tenants where id = %(id)s and state <> 'deleted';

-- # tenant by id, locked
select id, slug, name, policy, created_at, modules_denied, bounds, state, suspended_because, suspended_at
from plugyard.tenants where id = %(id)s and state <> 'deleted' for update;

-- # tenant by slug
select id, slug, name, policy, created_at, modules_denied, bounds, state, suspended_because, suspended_at
from plugyard.tenants where slug = %(slug)s and state <> 'deleted';

-- # save policy
update plugyard.tenants set policy = %(policy)s, updated_at = %(at)s where id = %(id)s;

-- # deny modules
update plugyard.tenants set modules_denied = %(names)s, updated_at = %(at)s where id = %(id)s;

-- # save bounds
update plugyard.tenants set bounds = %(bounds)s, updated_at = %(at)s where id = %(id)s and state <> 'deleted';

-- # save state
update plugyard.tenants set
  state = %(state)s, suspended_because = %(reason)s,
  suspended_at = case when %(state)s = 'active' then null else coalesce(suspended_at, %(at)s) end, updated_at = %(at)s
where id = %(id)s and state <> 'deleted';

-- # tell of a halt
select pg_notify(
  'plugyard_changes',
  format('%%s halted %%s -', coalesce(nullif(current_setting('plugyard.replica', true), ''), '-'), %(id)s::text));

-- # tenants being deleted
select id from plugyard.tenants where state = 'deleting' order by id;

-- # plugins of a tenant
select id from plugyard.plugins where tenant_id = %(id)s order by id;

-- # digests of a tenant
select distinct digest from plugyard.plugin_versions where tenant_id = %(id)s order by digest;

-- # erase a tenant
select plugyard.erase_tenant(%(id)s, %(at_most)s) as erased;

-- # bury a tenant
update plugyard.tenants set
  state = 'deleted', slug = 'deleted-' || id, name = '', policy = '{}', bounds = '{}', modules_denied = '{}',
  suspended_because = null, suspended_at = null, deleted_at = %(at)s, updated_at = %(at)s
where id = %(id)s and state = 'deleting';

-- # lock the tenant's holdings
select 1 from plugyard.tenants where id = plugyard.current_tenant() for no key update;

-- # holdings
select
  (select count(*) from plugyard.plugins p where p.tenant_id = plugyard.current_tenant() and p.state <> 'uninstalled')
    as plugins,
  (select coalesce(sum(one.bytes), 0)::bigint from (
    select max(v.packed_bytes) as bytes
    from plugyard.plugin_versions v join plugyard.plugins p on p.tenant_id = v.tenant_id and p.id = v.plugin_id
    where v.tenant_id = plugyard.current_tenant() and p.state <> 'uninstalled' and v.digest <> %(beside)s
    group by v.digest) as one) as stored_bytes;

-- # add key
insert into plugyard.api_keys (
  id, tenant_id, name, role, secret_hash, created_at, expires_at, revoked_at, last_used_at,
  scopes, succeeds)
values (
  %(id)s, %(tenant_id)s, %(name)s, %(role)s, %(secret_hash)s, %(created_at)s, %(expires_at)s, %(revoked_at)s,
  %(last_used_at)s, %(scopes)s, %(succeeds)s);

-- # key by id
select id, tenant_id, name, role, created_at, expires_at, revoked_at, last_used_at, scopes, succeeds
from plugyard.api_keys where id = %(id)s;

-- # key that succeeds
select id, tenant_id, name, role, created_at, expires_at, revoked_at, last_used_at, scopes, succeeds
from plugyard.api_keys where succeeds = %(id)s order by created_at, id limit 1;

-- # key by hash
select id, tenant_id, name, role, created_at, expires_at, revoked_at, last_used_at, scopes, succeeds
from plugyard.key_by_hash(%(secret_hash)s);

-- # save key
-- A key that is revoked stays so, whatever was read of it before.
update plugyard.api_keys set
  name = %(name)s, role = %(role)s, expires_at = %(expires_at)s,
  revoked_at = coalesce(revoked_at, %(revoked_at)s),
  last_used_at = greatest(last_used_at, %(last_used_at)s)
where id = %(id)s;

-- # touch keys
select plugyard.touch_keys(%(ids)s::uuid[], %(moments)s::timestamptz[]);

-- # emit
insert into plugyard.outbox (id, tenant_id, plugin_id, type, occurred_at, data)
values (%(id)s, %(tenant_id)s, %(plugin_id)s, %(type)s, %(occurred_at)s, %(data)s);

-- # claim idempotency key
insert into plugyard.idempotency_keys as held (
  tenant_id, plugin_id, key, request_hash, execution_id, response, created_at, holder)
values (
  plugyard.current_tenant(), %(plugin_id)s, %(key)s, %(request_hash)s, %(execution_id)s, %(response)s, %(created_at)s,
  nullif(current_setting('plugyard.replica', true), ''))
on conflict (tenant_id, plugin_id, key) do update set
  request_hash = excluded.request_hash, execution_id = excluded.execution_id, response = excluded.response,
  created_at = excluded.created_at, holder = excluded.holder
where held.created_at < excluded.created_at - interval '1 day'
returning 1;

-- # idempotency key
select request_hash, execution_id, response, created_at,
  case when response is null and holder is not null then not plugyard.lives(holder) else false end as abandoned
from plugyard.idempotency_keys
where tenant_id = plugyard.current_tenant() and plugin_id = %(plugin_id)s and key = %(key)s;

-- # keep idempotent response
update plugyard.idempotency_keys set response = %(response)s
where tenant_id = plugyard.current_tenant() and plugin_id = %(plugin_id)s and key = %(key)s
  and execution_id = %(execution_id)s;

-- # free idempotency key
delete from plugyard.idempotency_keys
where tenant_id = plugyard.current_tenant() and plugin_id = %(plugin_id)s and key = %(key)s
  and execution_id = %(execution_id)s and response is null;

-- # uninstalled
select id from plugyard.plugins
where id = any(%(ids)s::uuid[]) and state = 'uninstalled' and updated_at < %(before)s;

-- # known digests
select distinct digest from plugyard.plugin_versions where digest = any(%(digests)s::text[]);

-- # ensure partitions
select plugyard.ensure_partitions(%(days_ahead)s);

-- # forget events
select plugyard.forget_events(%(before)s, %(at_most)s) as gone;

-- # fold executions
select plugyard.fold_executions(%(at_most)s) as folded;

-- # clear old
select keys, events, more from plugyard.clear_old(%(executions_kept)s, %(logs_kept)s, %(at_most)s);

-- # drop an old day
select plugyard.drop_old_day(%(parent)s, %(kept)s) as dropped;

-- # ping
select 1;
