-- The answer under a key is kept with the record ----------------------------------------------------------------------

-- Makes a batch of executions durable in one round trip: for each tenant the executions with their logs, events and
-- entries of the trail, and a row for the rollups. Each insert is bound to the tenant that it is for. A batch
-- that comes twice, because its answer was lost, is written and counted once. Each execution says how many lines it
-- logged; older code does not, and its lines are not counted. An execution that holds an idempotency key has its answer
-- kept with its record, so that nobody finds the one without the other.
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
    if jsonb_array_length(coalesce(part -> 'replies', '[]')) > 0 then
      update plugyard.idempotency_keys as held set response = said.response
      from jsonb_to_recordset(part -> 'replies') as said (plugin_id uuid, key text, execution_id uuid, response jsonb)
      where held.tenant_id = plugyard.current_tenant() and held.plugin_id = said.plugin_id and held.key = said.key
        and held.execution_id = said.execution_id;
    end if;
  end loop;
end $$;
