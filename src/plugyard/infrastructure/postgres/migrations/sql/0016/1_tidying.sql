-- Tidying that holds nobody up ---------------------------------------------------------------------------------------

-- Events that are old are found by either time; rows lie in about the order of both.
create index outbox_occurred on plugyard.outbox using brin (occurred_at);

-- Whether an event may go once it has served its time: a plugin's own is kept until its subscribers had it, or for a week
-- longer where they never get it.
create function plugyard.event_served(e plugyard.outbox, before timestamptz) returns boolean language sql immutable
as $$
  select e.type <> 'plugin.event_published' or e.delivered_at is not null
    or e.occurred_at < before - interval '7 days'
$$;

-- Deletes what is older than its retention, so many rows of each table at most: what the default partitions took,
-- answered idempotency keys after a day, relayed events after a week, and rollups behind the longest window that anybody
-- can ask for. Answers how much went, and whether there may be more. Of keys, which hold whole answers, fewer go at once.
create function plugyard.clear_old(executions_kept interval, logs_kept interval, at_most integer)
returns table (keys bigint, events bigint, more boolean)
language plpgsql security definer
set search_path = plugyard, pg_temp set timezone = 'UTC'
as $$
declare
  before text := plugyard.start_crossing();
  oldest timestamptz := date_trunc('day', now() - greatest(executions_kept, interval '91 days'));
  keys_at_most integer := greatest(1, at_most / 20);
  gone bigint;
begin
  delete from plugyard.idempotency_keys where ctid = any(array(
    select ctid from plugyard.idempotency_keys where created_at < now() - interval '1 day' limit keys_at_most));
  get diagnostics keys = row_count;
  more := keys = keys_at_most;
  delete from plugyard.outbox where ctid = any(array(
    select o.ctid from plugyard.outbox o
    where o.published_at < now() - interval '7 days' and plugyard.event_served(o, now() - interval '7 days')
    limit at_most));
  get diagnostics events = row_count;
  more := more or events = at_most;
  delete from plugyard.plugin_executions_default where ctid = any(array(
    select ctid from plugyard.plugin_executions_default where started_at < now() - executions_kept limit at_most));
  get diagnostics gone = row_count;
  more := more or gone = at_most;
  delete from plugyard.plugin_logs_default where ctid = any(array(
    select ctid from plugyard.plugin_logs_default where at < now() - logs_kept limit at_most));
  get diagnostics gone = row_count;
  more := more or gone = at_most;
  delete from plugyard.tenant_rollups where ctid = any(array(
    select ctid from plugyard.tenant_rollups where at < oldest limit at_most));
  get diagnostics gone = row_count;
  more := more or gone = at_most;
  delete from plugyard.wall_rollups where ctid = any(array(
    select ctid from plugyard.wall_rollups where at < oldest limit at_most));
  get diagnostics gone = row_count;
  more := more or gone = at_most;
  delete from plugyard.plugin_rollups where ctid = any(array(
    select ctid from plugyard.plugin_rollups where at < oldest limit at_most));
  get diagnostics gone = row_count;
  more := more or gone = at_most;
  perform plugyard.stop_crossing(before);
  return next;
end $$;

-- Drops one day of executions or of logs that is older than so much, and answers whether there was one; null where
-- somebody has been reading the table for too long. Whoever reads or records meanwhile waits behind this, so it waits for
-- a moment only, and is a transaction of its own.
create function plugyard.drop_old_day(parent text, kept interval) returns boolean
language plpgsql security definer
set search_path = plugyard, pg_temp set timezone = 'UTC' set lock_timeout = '1s'
as $$
declare
  child text;
begin
  if parent not in ('plugin_executions', 'plugin_logs') then
    raise exception 'no days are kept of %', parent using errcode = 'invalid_parameter_value';
  end if;
  select c.relname into child
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = ('plugyard.' || quote_ident(parent))::regclass
    and c.relname ~ ('^' || parent || '_\d{8}$')
    and to_date(right(c.relname, 8), 'YYYYMMDD') < (now() - kept)::date
  order by c.relname limit 1;
  if child is null then
    return false;
  end if;
  execute format('drop table plugyard.%I', child);
  return true;
exception when lock_not_available then
  return null;
end $$;

-- Events from before then that no relay will carry on, the oldest first, so many at most. Answers how many went.
create function plugyard.forget_events(before timestamptz, at_most integer) returns bigint
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  crossing text := plugyard.start_crossing();
  gone bigint;
begin
  delete from plugyard.outbox where ctid = any(array(
    select o.ctid from plugyard.outbox o
    where o.occurred_at < forget_events.before and plugyard.event_served(o, forget_events.before) limit at_most));
  get diagnostics gone = row_count;
  perform plugyard.stop_crossing(crossing);
  return gone;
end $$;

-- As older code calls it: all at once, but with the lock that keeps everybody from recording held for the end alone.
create or replace function plugyard.clean_up(executions_kept interval, logs_kept interval)
returns table (execution_days integer, log_days integer, keys bigint, events bigint)
language plpgsql security definer
set search_path = plugyard, pg_temp set timezone = 'UTC'
as $$
declare
  before text;
begin
  select c.keys, c.events into keys, events from plugyard.clear_old(executions_kept, logs_kept, 100000) as c;
  before := plugyard.start_crossing();
  execution_days := plugyard.drop_partitions('plugin_executions', (now() - executions_kept)::date);
  log_days := plugyard.drop_partitions('plugin_logs', (now() - logs_kept)::date);
  perform plugyard.stop_crossing(before);
  return next;
end $$;
