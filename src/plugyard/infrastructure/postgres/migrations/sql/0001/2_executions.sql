-- Executions and logs, one partition for each day ----------------------------------------------------------------

-- No foreign keys here: they would be looked up for each of thousands of rows a second, plugins are never deleted, and
-- row-level security keeps the tenant right.
create table plugyard.plugin_executions (
  id uuid not null,
  tenant_id uuid not null,
  plugin_id uuid not null,
  version text not null,
  function text not null,
  status text not null check (status in ('queued', 'running', 'succeeded', 'failed', 'timed_out', 'out_of_memory',
                                         'cpu_exceeded', 'crashed', 'cancelled')),
  started_at timestamptz not null,
  ended_at timestamptz,
  wall_ms double precision,
  cpu_ms double precision,
  peak_memory_bytes bigint,
  service_calls integer,
  start text,
  error_code text,
  error_message text,
  error_stack text,
  error_limit bigint,
  error_used bigint,
  actor text not null,
  request_id text not null,
  input_bytes bigint not null,
  output_bytes bigint not null,
  primary key (id, started_at)
) partition by range (started_at);
create index plugin_executions_by_age
  on plugyard.plugin_executions (tenant_id, plugin_id, started_at desc, id desc);
call plugyard.isolate('plugyard.plugin_executions');

create table plugyard.plugin_logs (
  id uuid not null,
  tenant_id uuid not null,
  plugin_id uuid not null,
  execution_id uuid not null,
  at timestamptz not null,
  level text not null,
  message text not null,
  fields jsonb not null,
  primary key (id, at)
) partition by range (at);
create index plugin_logs_by_age on plugyard.plugin_logs (tenant_id, plugin_id, id desc);
create index plugin_logs_by_execution on plugyard.plugin_logs (execution_id, id desc);
call plugyard.isolate('plugyard.plugin_logs');

-- Whatever no day's partition takes lands here, so that no insert fails for want of a partition.
create table plugyard.plugin_executions_default partition of plugyard.plugin_executions default;
create table plugyard.plugin_logs_default partition of plugyard.plugin_logs default;

-- A partition is reached through its parent; on the direct way nobody but the operator sees anything.
create procedure plugyard.close_partition(target regclass) language plpgsql
as $$
begin
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format('create policy of_the_operator on %s using (plugyard.crosses_tenants())', target);
end $$;
call plugyard.close_partition('plugyard.plugin_executions_default');
call plugyard.close_partition('plugyard.plugin_logs_default');

-- Makes the partition of one day, with the rows that the default partition took in the meantime.
create procedure plugyard.make_partition(parent text, time_column text, day date) language plpgsql
set search_path = plugyard, pg_temp
as $$
declare
  child text := parent || '_' || to_char(day, 'YYYYMMDD');
  lower_bound timestamptz := day::timestamp at time zone 'UTC';
  upper_bound timestamptz := (day + 1)::timestamp at time zone 'UTC';
begin
  if to_regclass('plugyard.' || quote_ident(child)) is not null then
    return;
  end if;
  execute format('create table plugyard.%I (like plugyard.%I including all)', child, parent);
  execute format(
    'with moved as (delete from plugyard.%I where %I >= %L and %I < %L returning *) insert into plugyard.%I select * from moved',
    parent || '_default', time_column, lower_bound, time_column, upper_bound, child);
  execute format(
    'alter table plugyard.%I attach partition plugyard.%I for values from (%L) to (%L)',
    parent, child, lower_bound, upper_bound);
  call plugyard.close_partition(format('plugyard.%I', child)::regclass);
end $$;

-- Makes the partitions from yesterday to so many days ahead. The service calls it at each start and once a day.
create function plugyard.ensure_partitions(days_ahead integer default 7) returns void
language plpgsql security definer
set search_path = plugyard, pg_temp set timezone = 'UTC'
as $$
declare
  today date := (now() at time zone 'UTC')::date;
  before text := plugyard.start_crossing();
begin
  -- Two services may start at once, and both would find a partition missing.
  perform pg_advisory_xact_lock(hashtext('plugyard.ensure_partitions'));
  for offset_days in -1 .. days_ahead loop
    call plugyard.make_partition('plugin_executions', 'started_at', today + offset_days);
    call plugyard.make_partition('plugin_logs', 'at', today + offset_days);
  end loop;
  perform plugyard.stop_crossing(before);
end $$;

-- Drops what is older than its retention: whole days of executions and logs, answered idempotency keys after a day,
-- relayed events after a week. Answers how much went.
create function plugyard.clean_up(executions_kept interval, logs_kept interval)
returns table (execution_days integer, log_days integer, keys bigint, events bigint)
language plpgsql security definer
set search_path = plugyard, pg_temp set timezone = 'UTC'
as $$
declare
  before text := plugyard.start_crossing();
begin
  execution_days := plugyard.drop_partitions('plugin_executions', (now() - executions_kept)::date);
  log_days := plugyard.drop_partitions('plugin_logs', (now() - logs_kept)::date);
  delete from plugyard.plugin_executions_default where started_at < now() - executions_kept;
  delete from plugyard.plugin_logs_default where at < now() - logs_kept;
  delete from plugyard.idempotency_keys where created_at < now() - interval '1 day';
  get diagnostics keys = row_count;
  delete from plugyard.outbox where published_at < now() - interval '7 days';
  get diagnostics events = row_count;
  perform plugyard.stop_crossing(before);
  return next;
end $$;

-- Drops the partitions of the days before one.
create function plugyard.drop_partitions(parent text, before date) returns integer
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  child text;
  dropped integer := 0;
begin
  for child in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ('plugyard.' || quote_ident(parent))::regclass
      and c.relname ~ ('^' || parent || '_\d{8}$')
      and to_date(right(c.relname, 8), 'YYYYMMDD') < before
  loop
    execute format('drop table plugyard.%I', child);
    dropped := dropped + 1;
  end loop;
  return dropped;
end $$;

-- Makes a batch of executions durable in one round trip: for each tenant the executions with their logs, events and
-- entries of the trail. Each insert is bound to the tenant that it is for. A batch that comes twice, because its answer
-- was lost, is written once.
create function plugyard.record_executions(batch jsonb) returns void
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  part jsonb;
begin
  for part in select value from jsonb_array_elements(batch) loop
    perform set_config('plugyard.tenant_id', part ->> 'tenant', true);
    insert into plugyard.plugin_executions (
      id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms, cpu_ms, peak_memory_bytes,
      service_calls, start, error_code, error_message, error_stack, error_limit, error_used, actor, request_id,
      input_bytes, output_bytes)
    select
      id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms, cpu_ms, peak_memory_bytes,
      service_calls, start, error_code, error_message, error_stack, error_limit, error_used, actor, request_id,
      input_bytes, output_bytes
    from jsonb_to_recordset(part -> 'executions') as x (
      id uuid, tenant_id uuid, plugin_id uuid, version text, function text, status text, started_at timestamptz,
      ended_at timestamptz, wall_ms double precision, cpu_ms double precision, peak_memory_bytes bigint,
      service_calls integer, start text, error_code text, error_message text, error_stack text, error_limit bigint,
      error_used bigint, actor text, request_id text, input_bytes bigint, output_bytes bigint)
    on conflict do nothing;
    if jsonb_array_length(part -> 'logs') > 0 then
      insert into plugyard.plugin_logs (id, tenant_id, plugin_id, execution_id, at, level, message, fields)
      select id, tenant_id, plugin_id, execution_id, at, level, message, fields
      from jsonb_to_recordset(part -> 'logs') as x (
        id uuid, tenant_id uuid, plugin_id uuid, execution_id uuid, at timestamptz, level text, message text,
        fields jsonb)
      on conflict do nothing;
    end if;
    if jsonb_array_length(part -> 'events') > 0 then
      insert into plugyard.outbox (id, tenant_id, plugin_id, type, occurred_at, data)
      select id, tenant_id, plugin_id, type, occurred_at, data
      from jsonb_to_recordset(part -> 'events') as x (
        id uuid, tenant_id uuid, plugin_id uuid, type text, occurred_at timestamptz, data jsonb)
      on conflict do nothing;
    end if;
    if jsonb_array_length(part -> 'audit') > 0 then
      insert into plugyard.audit_log (id, tenant_id, at, actor, action, target, detail, request_id)
      select id, tenant_id, at, actor, action, target, detail, request_id
      from jsonb_to_recordset(part -> 'audit') as x (
        id uuid, tenant_id uuid, at timestamptz, actor text, action text, target text, detail jsonb, request_id text)
      on conflict do nothing;
    end if;
  end loop;
end $$;

-- Health and metrics ---------------------------------------------------------------------------------------------

-- The score from 0 to 100 after so many executions of each status, the same rule as `judge` in domain/health.py; null
-- while nothing ran.
create function plugyard.plugin_health_score(outcomes jsonb) returns integer language sql immutable parallel safe
as $$
  select case when sum(count) > 0
    then greatest(0, trunc(100 - 100 * (sum(weight * count) / sum(count)) + 0.5))::integer end
  from (
    select weight, coalesce((outcomes ->> status)::double precision, 0) as count
    from (values ('succeeded', 0.0::double precision), ('failed', 1.0), ('timed_out', 1.5), ('out_of_memory', 1.5),
                 ('cpu_exceeded', 1.5), ('crashed', 1.5)) as weights (status, weight)
  ) as counted
$$;

-- Each plugin's last 24 hours, for a person at a console; the API asks for windows of its own.
create view plugyard.plugin_metrics with (security_invoker = true) as
select
  tenant_id, plugin_id, sum(executions)::bigint as executions,
  coalesce(sum(executions) filter (where status not in ('succeeded', 'cancelled', 'queued', 'running')), 0)::bigint
    as failures,
  sum(wall_ms) / nullif(sum(executions), 0) as wall_ms_mean, max(wall_ms_max) as wall_ms_max,
  sum(cpu_ms) as cpu_ms, max(peak_memory_bytes) as peak_memory_bytes,
  plugyard.plugin_health_score(jsonb_object_agg(status, executions)) as health_score
from (
  select
    tenant_id, plugin_id, status, count(*) as executions, sum(wall_ms) as wall_ms, max(wall_ms) as wall_ms_max,
    sum(cpu_ms) as cpu_ms, max(peak_memory_bytes) as peak_memory_bytes
  from plugyard.plugin_executions
  where started_at >= now() - interval '24 hours'
  group by tenant_id, plugin_id, status
) as by_status
group by tenant_id, plugin_id;

select plugyard.ensure_partitions();
