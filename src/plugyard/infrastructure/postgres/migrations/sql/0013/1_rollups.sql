-- Executions, counted by the hour and by the day, so that a window of weeks is read in milliseconds -----------------

-- How many lines an execution logged; unknown for those that are older.
alter table plugyard.plugin_executions add column logs integer;

-- Executions that no rollup counts yet. Whoever records executions adds a row for each and touches no row that anybody
-- else touches: a counter for each hour would make replicas wait for each other's commits. `fold_executions` moves what
-- lies here into the three tables below, in one transaction; so every execution is counted in exactly one place at any
-- moment.
create table plugyard.uncounted_executions (
  tenant_id uuid not null,
  started_at timestamptz not null,
  plugin_id uuid not null,
  status text not null,
  wall_ms double precision,
  cpu_ms double precision,
  logs integer
);
create index uncounted_executions_by_tenant on plugyard.uncounted_executions (tenant_id, started_at);
-- It empties all the time, and whoever reads it has to step over what is gone.
alter table plugyard.uncounted_executions
  set (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
call plugyard.isolate('plugyard.uncounted_executions');

-- All plugins of a tenant together.
create table plugyard.tenant_rollups (
  tenant_id uuid not null,
  grain text not null check (grain in ('hour', 'day')),
  at timestamptz not null,
  status text not null,
  executions bigint not null,
  wall_ms double precision not null,
  wall_ms_max double precision not null,
  cpu_ms double precision not null,
  logs bigint not null,
  primary key (tenant_id, grain, at, status)
) with (fillfactor = 80);
create index tenant_rollups_by_age on plugyard.tenant_rollups (at);
call plugyard.isolate('plugyard.tenant_rollups');

-- How long a tenant's executions took, by `wall_bucket`; those that have no duration are left out.
create table plugyard.wall_rollups (
  tenant_id uuid not null,
  grain text not null check (grain in ('hour', 'day')),
  at timestamptz not null,
  bucket smallint not null,
  executions bigint not null,
  primary key (tenant_id, grain, at, bucket)
) with (fillfactor = 80);
create index wall_rollups_by_age on plugyard.wall_rollups (at);
call plugyard.isolate('plugyard.wall_rollups');

-- Each plugin. A row for each of its functions and outcomes would be a row for each execution of most plugins.
create table plugyard.plugin_rollups (
  tenant_id uuid not null,
  grain text not null check (grain in ('hour', 'day')),
  at timestamptz not null,
  plugin_id uuid not null,
  executions bigint not null,
  failed bigint not null,
  wall_ms double precision not null,
  cpu_ms double precision not null,
  primary key (tenant_id, grain, at, plugin_id)
) with (fillfactor = 80);
create index plugin_rollups_by_age on plugyard.plugin_rollups (at);
call plugyard.isolate('plugyard.plugin_rollups');

-- In which bucket a duration falls: the same rule as `bucket_of` in domain/analytics.py.
create function plugyard.wall_bucket(wall_ms double precision) returns smallint language sql immutable parallel safe
as $$
  select case when wall_ms is null then 0 when wall_ms <= 0.01 then 1
    else least(255, 1 + ceil(ln(wall_ms / 0.01::double precision) / ln(1.1::double precision))) end::smallint
$$;

-- Moves so many rows into the rollups and answers how many it took; 0 where another does it at this moment.
create function plugyard.fold_executions(at_most integer) returns bigint
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
  folded bigint := 0;
begin
  if pg_try_advisory_xact_lock(hashtext('plugyard.fold_executions')) then
    with taken as (
      delete from plugyard.uncounted_executions
      where ctid = any(array(select ctid from plugyard.uncounted_executions limit at_most)) returning *),
    by_tenant as (
      insert into plugyard.tenant_rollups as r
        (tenant_id, grain, at, status, executions, wall_ms, wall_ms_max, cpu_ms, logs)
      select tenant_id, grain, date_trunc(grain, started_at, 'UTC'), status, count(*), coalesce(sum(wall_ms), 0),
        coalesce(max(wall_ms), 0), coalesce(sum(cpu_ms), 0), coalesce(sum(logs), 0)
      from taken cross join (values ('hour'), ('day')) as grains (grain) group by 1, 2, 3, 4
      on conflict (tenant_id, grain, at, status) do update set
        executions = r.executions + excluded.executions, wall_ms = r.wall_ms + excluded.wall_ms,
        wall_ms_max = greatest(r.wall_ms_max, excluded.wall_ms_max), cpu_ms = r.cpu_ms + excluded.cpu_ms,
        logs = r.logs + excluded.logs),
    by_wall as (
      insert into plugyard.wall_rollups as r (tenant_id, grain, at, bucket, executions)
      select tenant_id, grain, date_trunc(grain, started_at, 'UTC'), plugyard.wall_bucket(wall_ms), count(*)
      from taken cross join (values ('hour'), ('day')) as grains (grain) where wall_ms is not null group by 1, 2, 3, 4
      on conflict (tenant_id, grain, at, bucket) do update set executions = r.executions + excluded.executions),
    by_plugin as (
      insert into plugyard.plugin_rollups as r (tenant_id, grain, at, plugin_id, executions, failed, wall_ms, cpu_ms)
      select tenant_id, grain, date_trunc(grain, started_at, 'UTC'), plugin_id, count(*),
        count(*) filter (where status not in ('succeeded', 'cancelled')), coalesce(sum(wall_ms), 0),
        coalesce(sum(cpu_ms), 0)
      from taken cross join (values ('hour'), ('day')) as grains (grain) group by 1, 2, 3, 4
      on conflict (tenant_id, grain, at, plugin_id) do update set
        executions = r.executions + excluded.executions, failed = r.failed + excluded.failed,
        wall_ms = r.wall_ms + excluded.wall_ms, cpu_ms = r.cpu_ms + excluded.cpu_ms)
    select count(*) into folded from taken;
  end if;
  perform plugyard.stop_crossing(before);
  return folded;
end $$;

-- Counts what was recorded already, as the function above does; it locks too, so that nobody records in between. Not
-- for the service to call.
create function plugyard.count_anew() returns void language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
  oldest timestamptz;
begin
  lock table plugyard.plugin_executions in share row exclusive mode;
  delete from plugyard.uncounted_executions;
  oldest := (select date_trunc('day', min(started_at), 'UTC') from plugyard.plugin_executions);
  delete from plugyard.tenant_rollups where at >= oldest;
  delete from plugyard.wall_rollups where at >= oldest;
  delete from plugyard.plugin_rollups where at >= oldest;
  insert into plugyard.tenant_rollups
    (tenant_id, grain, at, status, executions, wall_ms, wall_ms_max, cpu_ms, logs)
  select tenant_id, grain, date_trunc(grain, started_at, 'UTC'), status, count(*), coalesce(sum(wall_ms), 0),
    coalesce(max(wall_ms), 0), coalesce(sum(cpu_ms), 0), coalesce(sum(logs), 0)
  from plugyard.plugin_executions cross join (values ('hour'), ('day')) as grains (grain)
  where status not in ('queued', 'running') group by 1, 2, 3, 4;
  insert into plugyard.wall_rollups (tenant_id, grain, at, bucket, executions)
  select tenant_id, grain, date_trunc(grain, started_at, 'UTC'), plugyard.wall_bucket(wall_ms), count(*)
  from plugyard.plugin_executions cross join (values ('hour'), ('day')) as grains (grain)
  where status not in ('queued', 'running') and wall_ms is not null group by 1, 2, 3, 4;
  insert into plugyard.plugin_rollups (tenant_id, grain, at, plugin_id, executions, failed, wall_ms, cpu_ms)
  select tenant_id, grain, date_trunc(grain, started_at, 'UTC'), plugin_id, count(*),
    count(*) filter (where status not in ('succeeded', 'cancelled')), coalesce(sum(wall_ms), 0),
    coalesce(sum(cpu_ms), 0)
  from plugyard.plugin_executions cross join (values ('hour'), ('day')) as grains (grain)
  where status not in ('queued', 'running') group by 1, 2, 3, 4;
  perform plugyard.stop_crossing(before);
end $$;
select plugyard.count_anew();
