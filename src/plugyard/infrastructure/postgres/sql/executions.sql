-- Executions and what is folded from them. Used by executions.py and recorder.py.

-- # record executions
select plugyard.record_executions($1::jsonb);

-- # execution by id
select
  id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms, cpu_ms, peak_memory_bytes,
  service_calls, start, error_code, error_message, error_stack, error_limit, error_used, actor, request_id, input_bytes,
  output_bytes, queued_at, attempts
from plugyard.plugin_executions where id = %(id)s;


-- # execution by id, near its time
select
  id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms, cpu_ms, peak_memory_bytes,
  service_calls, start, error_code, error_message, error_stack, error_limit, error_used, actor, request_id, input_bytes,
  output_bytes, queued_at, attempts
from plugyard.plugin_executions where id = %(id)s and started_at >= %(since)s and started_at < %(until)s;

-- # metrics of a window
with window_rows as materialized (
  select status, function, start, wall_ms, cpu_ms, peak_memory_bytes
  from plugyard.plugin_executions
  where tenant_id = plugyard.current_tenant() and plugin_id = %(plugin_id)s
    and started_at >= %(since)s and started_at < %(until)s
)
select
  (select coalesce(jsonb_object_agg(status, n), '{}')
   from (select status, count(*) as n from window_rows group by status) as s) as by_status,
  (select coalesce(jsonb_object_agg(function, n), '{}')
   from (select function, count(*) as n from window_rows group by function) as f) as by_function,
  (select coalesce(jsonb_object_agg(start, n), '{}')
   from (select start, count(*) as n from window_rows where start is not null group by start) as t) as starts,
  avg(wall_ms) as wall_mean,
  percentile_cont(array[0.5, 0.95, 0.99]) within group (order by wall_ms) as wall_percentiles,
  max(wall_ms) as wall_max,
  coalesce(sum(cpu_ms), 0)::double precision as cpu_total,
  avg(cpu_ms) as cpu_mean,
  max(peak_memory_bytes) as peak_memory
from window_rows;

-- # count executions
select count(*) as n from plugyard.plugin_executions
where tenant_id = plugyard.current_tenant() and started_at >= %(since)s and started_at < %(before)s;

-- # outcomes since
select status, count(*) as n from plugyard.plugin_executions
where tenant_id = plugyard.current_tenant() and plugin_id = %(plugin_id)s and started_at >= %(since)s
group by status;

-- # plugins to check
-- Begins with what ran lately, by the hour's counts, so that it costs what runs and not what is installed; that each row
-- of them is looked up by its key is said here, because the planner would rather read all plugins.
with ran as materialized (
  select tenant_id, plugin_id from plugyard.plugin_rollups
  where grain = 'hour' and at > %(since)s::timestamptz - interval '1 hour'
  union
  select tenant_id, plugin_id from plugyard.uncounted_executions
)
select p.tenant_id, p.id from ran cross join lateral (
  select tenant_id, id, health_checked_at from plugyard.plugins
  where id = ran.plugin_id and tenant_id = ran.tenant_id and state = 'active'
    and exists (
      select from plugyard.plugin_executions e
      where e.tenant_id = ran.tenant_id and e.plugin_id = ran.plugin_id and e.started_at >= %(since)s)
  offset 0) p
order by p.health_checked_at nulls first, p.id
limit %(limit)s;
