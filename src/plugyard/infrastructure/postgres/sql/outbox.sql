-- The outbox, as relays see it. Used by outbox.py, over a connection that crosses tenants and belongs to one relay.

-- # lead
-- What another relay leads is passed over.
select slot, pg_try_advisory_lock(%(key)s, slot) as taken from unnest(%(slots)s::int[]) as slot;

-- # give back
select pg_advisory_unlock(%(key)s, slot) from unnest(%(slots)s::int[]) as slot;

-- # join
select pg_advisory_lock_shared(%(key)s, 0), pg_backend_pid() as pid;

-- # relays
select pid from pg_locks
where locktype = 'advisory' and granted and objsubid = 2 and classid::bigint = %(key)s and objid = 0
  and database = (select oid from pg_database where datname = current_database())
order by pid;

-- # waiting
-- The oldest of each slot that wait and are not on their way already.
select o.* from unnest(%(slots)s::int[]) as wanted (slot)
cross join lateral (
  select position, id::text, tenant_id::text, plugin_id::text, type, occurred_at, data::text, slot from plugyard.outbox
  where slot = wanted.slot and published_at is null and position <> all(%(on_their_way)s::bigint[])
  order by position limit %(of_each)s
) as o
limit %(most)s;

-- # published
update plugyard.outbox set published_at = clock_timestamp()
where position = any(%(positions)s::bigint[]) and published_at is null;

-- # lag
select
  (select count(*) from (select from plugyard.outbox where published_at is null limit %(most)s) as one) as waiting,
  (select occurred_at from plugyard.outbox where published_at is null order by position limit 1) as oldest;
