-- What executions add up to, from the rollups and from what they do not count yet. Used by analytics.py. Each is one
-- statement, so that an execution which is folded meanwhile is counted once.

-- # tenant's window
with counted as materialized (
  select at, status, executions, wall_ms, wall_ms_max, cpu_ms, logs from plugyard.tenant_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'hour' and at >= %(since)s and at < %(first_day)s
  union all
  select at, status, executions, wall_ms, wall_ms_max, cpu_ms, logs from plugyard.tenant_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'hour' and at >= %(last_day)s and at < %(until)s
  union all
  select at, status, executions, wall_ms, wall_ms_max, cpu_ms, logs from plugyard.tenant_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'day' and at >= %(first_day)s and at < %(last_day)s
  union all
  select started_at, status, 1, coalesce(wall_ms, 0), coalesce(wall_ms, 0), coalesce(cpu_ms, 0), coalesce(logs, 0)
  from plugyard.uncounted_executions
  where tenant_id = plugyard.current_tenant() and started_at >= %(since)s and started_at < %(until)s
)
select
  (select coalesce(jsonb_object_agg(status, n), '{}')
   from (select status, sum(executions) as n from counted group by status) s) as by_status,
  (select coalesce(jsonb_agg(jsonb_build_array(at, executions, failed) order by at), '[]')
   from (
     select date_trunc(%(grain)s, at, 'UTC') as at, sum(executions) as executions,
       coalesce(sum(executions) filter (where status not in ('succeeded', 'cancelled')), 0) as failed
     from counted group by 1) p) as pieces,
  coalesce(sum(wall_ms), 0)::double precision as wall_total,
  max(wall_ms_max) as wall_max,
  coalesce(sum(cpu_ms), 0)::double precision as cpu_total,
  coalesce(sum(logs), 0)::bigint as logs
from counted;

-- # durations of a window
select bucket, sum(executions)::bigint as n from (
  select bucket, executions from plugyard.wall_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'hour' and at >= %(since)s and at < %(first_day)s
  union all
  select bucket, executions from plugyard.wall_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'hour' and at >= %(last_day)s and at < %(until)s
  union all
  select bucket, executions from plugyard.wall_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'day' and at >= %(first_day)s and at < %(last_day)s
  union all
  select plugyard.wall_bucket(wall_ms), 1 from plugyard.uncounted_executions
  where tenant_id = plugyard.current_tenant() and started_at >= %(since)s and started_at < %(until)s
    and wall_ms is not null
) counted group by bucket;

-- # plugins of a window
with counted as (
  select plugin_id, executions, failed, wall_ms, cpu_ms from plugyard.plugin_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'hour' and at >= %(since)s and at < %(first_day)s
  union all
  select plugin_id, executions, failed, wall_ms, cpu_ms from plugyard.plugin_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'hour' and at >= %(last_day)s and at < %(until)s
  union all
  select plugin_id, executions, failed, wall_ms, cpu_ms from plugyard.plugin_rollups
  where tenant_id = plugyard.current_tenant() and grain = 'day' and at >= %(first_day)s and at < %(last_day)s
  union all
  select plugin_id, 1, (status not in ('succeeded', 'cancelled'))::int, coalesce(wall_ms, 0), coalesce(cpu_ms, 0)
  from plugyard.uncounted_executions
  where tenant_id = plugyard.current_tenant() and started_at >= %(since)s and started_at < %(until)s
),
most as (
  select plugin_id, sum(executions)::bigint as executions, sum(failed)::bigint as failed,
    sum(wall_ms) / sum(executions)::double precision as wall_ms_mean, sum(cpu_ms) as cpu_ms_total
  from counted group by plugin_id order by executions desc, plugin_id limit %(top)s
)
select most.plugin_id, coalesce(p.name, '') as name, most.executions, most.failed, most.wall_ms_mean, most.cpu_ms_total
from most left join plugyard.plugins p on p.tenant_id = plugyard.current_tenant() and p.id = most.plugin_id
order by most.executions desc, most.plugin_id;
