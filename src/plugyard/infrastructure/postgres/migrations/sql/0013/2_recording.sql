-- Makes a batch of executions durable in one round trip: for each tenant the executions with their logs, events and
-- entries of the trail, and a row for the rollups. Each insert is bound to the tenant that it is for. A batch
-- that comes twice, because its answer was lost, is written and counted once. Each execution says how many lines it
-- logged; older code does not, and its lines are not counted.
create or replace function plugyard.record_executions(batch jsonb) returns void
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  part jsonb;
  not_theirs uuid[];
begin
  for part in select value from jsonb_array_elements(batch) loop
    perform set_config('plugyard.tenant_id', part ->> 'tenant', true);
    not_theirs := '{}';
    if jsonb_array_length(coalesce(part -> 'ends', '[]')) > 0 then
      not_theirs := plugyard.end_queued(part -> 'ends');
    end if;
    with written as (
      insert into plugyard.plugin_executions (
        id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms, cpu_ms, peak_memory_bytes,
        service_calls, start, error_code, error_message, error_stack, error_limit, error_used, actor, request_id,
        input_bytes, output_bytes, queued_at, attempts, logs)
      select
        id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms, cpu_ms, peak_memory_bytes,
        service_calls, start, error_code, error_message, error_stack, error_limit, error_used, actor, request_id,
        input_bytes, output_bytes, queued_at, attempts, logs
      from jsonb_to_recordset(part -> 'executions') as x (
        id uuid, tenant_id uuid, plugin_id uuid, version text, function text, status text, started_at timestamptz,
        ended_at timestamptz, wall_ms double precision, cpu_ms double precision, peak_memory_bytes bigint,
        service_calls integer, start text, error_code text, error_message text, error_stack text, error_limit bigint,
        error_used bigint, actor text, request_id text, input_bytes bigint, output_bytes bigint, queued_at timestamptz,
        attempts jsonb, logs integer)
      where id <> all (not_theirs)
      on conflict do nothing
      returning tenant_id, started_at, plugin_id, status, wall_ms, cpu_ms, logs)
    insert into plugyard.uncounted_executions
    select * from written where status not in ('queued', 'running');
    if jsonb_array_length(part -> 'logs') > 0 then
      insert into plugyard.plugin_logs (id, tenant_id, plugin_id, execution_id, at, level, message, fields)
      select id, tenant_id, plugin_id, execution_id, at, level, message, fields
      from jsonb_to_recordset(part -> 'logs') as x (
        id uuid, tenant_id uuid, plugin_id uuid, execution_id uuid, at timestamptz, level text, message text,
        fields jsonb)
      where execution_id <> all (not_theirs)
      on conflict do nothing;
    end if;
    if jsonb_array_length(part -> 'events') > 0 then
      insert into plugyard.outbox (id, tenant_id, plugin_id, type, occurred_at, data)
      select id, tenant_id, plugin_id, type, occurred_at, data
      from jsonb_to_recordset(part -> 'events') as x (
        id uuid, tenant_id uuid, plugin_id uuid, type text, occurred_at timestamptz, data jsonb)
      where not_theirs = '{}' or (data ->> 'executionId')::uuid <> all (not_theirs)
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

-- Drops what is older than its retention: whole days of executions and logs, answered idempotency keys after a day,
-- relayed events after a week, and rollups behind the longest window that anybody can ask for. Answers how much went.
create or replace function plugyard.clean_up(executions_kept interval, logs_kept interval)
returns table (execution_days integer, log_days integer, keys bigint, events bigint)
language plpgsql security definer
set search_path = plugyard, pg_temp set timezone = 'UTC'
as $$
declare
  before text := plugyard.start_crossing();
  oldest timestamptz := date_trunc('day', now() - greatest(executions_kept, interval '91 days'));
begin
  execution_days := plugyard.drop_partitions('plugin_executions', (now() - executions_kept)::date);
  log_days := plugyard.drop_partitions('plugin_logs', (now() - logs_kept)::date);
  delete from plugyard.plugin_executions_default where started_at < now() - executions_kept;
  delete from plugyard.plugin_logs_default where at < now() - logs_kept;
  delete from plugyard.idempotency_keys where created_at < now() - interval '1 day';
  get diagnostics keys = row_count;
  delete from plugyard.outbox where published_at < now() - interval '7 days';
  get diagnostics events = row_count;
  delete from plugyard.tenant_rollups where at < oldest;
  delete from plugyard.wall_rollups where at < oldest;
  delete from plugyard.plugin_rollups where at < oldest;
  perform plugyard.stop_crossing(before);
  return next;
end $$;
