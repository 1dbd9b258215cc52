-- procrastinate names its own things without their schema; whoever changes its tables need not have it in the path.
do $$
declare
  one regprocedure;
begin
  for one in select p.oid::regprocedure from pg_proc p where p.pronamespace = 'plugyard_queue'::regnamespace loop
    execute format('alter function %s set search_path = plugyard_queue, pg_temp', one);
  end loop;
end $$;

-- Executions that wait their turn ----------------------------------------------------------------------------------

-- One row from the acknowledgement until a day behind the end. The jobs of procrastinate carry ids alone; whatever a
-- tenant said is here, under the rule of all its rows.
create table plugyard.queued_executions (
  id uuid primary key,
  tenant_id uuid not null,
  plugin_id uuid not null,
  version text not null,
  call jsonb not null,
  input text,
  level smallint not null check (level between 0 and 2),
  state text not null check (state in ('queued', 'parked', 'running', 'ended', 'dead')),
  -- Its place among all tenants' work, see enqueue; null while it is not yet due.
  tag bigint,
  turn integer not null default 0,
  run integer not null default 0,
  lost integer not null default 0,
  queued_at timestamptz not null,
  due_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz,
  attempts jsonb not null default '[]',
  output text,
  cancel_requested boolean not null default false,
  once text
);
create unique index queued_executions_once on plugyard.queued_executions (tenant_id, plugin_id, once)
  where once is not null;
create index queued_executions_by_place on plugyard.queued_executions (tag) where state = 'queued' and tag is not null;
create index queued_executions_of_a_tenant on plugyard.queued_executions (tenant_id, level, tag desc)
  where state = 'queued' and tag is not null;
create index queued_executions_running on plugyard.queued_executions (plugin_id) where state = 'running';
create index queued_executions_parked on plugyard.queued_executions (plugin_id, tag) where state = 'parked';
create index queued_executions_waiting on plugyard.queued_executions (tenant_id, plugin_id, id desc)
  where state in ('queued', 'parked', 'running');
create index queued_executions_dead on plugyard.queued_executions (tenant_id, ended_at desc, id desc)
  where state = 'dead';
create index queued_executions_over on plugyard.queued_executions (ended_at) where state in ('ended', 'dead');
create index queued_executions_with_input on plugyard.queued_executions (queued_at) where input is not null;
call plugyard.isolate('plugyard.queued_executions');
-- Rows come and go by the thousand, so dead ones are to be swept early.
alter table plugyard.queued_executions set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
alter table plugyard_queue.procrastinate_jobs
  set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
alter table plugyard_queue.procrastinate_events
  set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Events that start plugins. Whether one was delivered to them has nothing to do with whether a relay has carried it on.
alter table plugyard.outbox add column delivered_at timestamptz;
create index outbox_to_deliver on plugyard.outbox (position)
  where delivered_at is null and type = 'plugin.event_published';

-- Where no relay runs nobody marks what was published, so old events go by their age. Answers how many.
create function plugyard.forget_events(before timestamptz) returns bigint language plpgsql security definer
set search_path = plugyard, pg_temp
as $$
declare
  crossing text := plugyard.start_crossing();
  gone bigint;
begin
  delete from plugyard.outbox
  where occurred_at < before and (delivered_at is not null or type <> 'plugin.event_published');
  get diagnostics gone = row_count;
  perform plugyard.stop_crossing(crossing);
  return gone;
end $$;

-- The one record of an execution tells of all its tries.
alter table plugyard.plugin_executions add column queued_at timestamptz, add column attempts jsonb;

-- Who is told of an end, and when: written with the end, gone when it was told or nobody listens.
create table plugyard.webhook_deliveries (
  execution_id uuid primary key,
  tenant_id uuid not null,
  plugin_id uuid not null,
  url text not null,
  tries integer not null default 0,
  due_at timestamptz not null default now()
);
create index webhook_deliveries_due on plugyard.webhook_deliveries (due_at);
call plugyard.isolate('plugyard.webhook_deliveries');

-- Has procrastinate fetch an execution when it is due, those with the lowest place first.
create function plugyard.defer_queued(execution uuid, tenant uuid, turn integer, place bigint, due timestamptz)
returns void language plpgsql set search_path = plugyard_queue, pg_temp
as $$
begin
  perform procrastinate_defer_jobs_v1(array[row(
    'executions', 'execute', -least(place, 2147483647)::integer, null, null,
    jsonb_build_object('execution', execution, 'tenant', tenant, 'turn', turn),
    case when due > now() then due end)::procrastinate_job_to_defer_v1]);
end $$;

-- The place of whoever is next: the virtual time of the queue. Null while nothing waits.
create function plugyard.lowest_waiting_tag() returns bigint
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
  lowest bigint;
begin
  select tag into lowest from plugyard.queued_executions where state = 'queued' and tag is not null
  order by tag limit 1;
  perform plugyard.stop_crossing(before);
  return lowest;
end $$;

-- Queues an execution, in the transaction of whoever asks. Its place is behind the tenant's own work of the same or a
-- higher priority, and never before the place of whoever is next: with that every tenant that waits has its turn in
-- each round, however much the others have queued (start-time fair queueing). Answers how much of the tenant's own is
-- before it, or null where the plugin has one of that word already.
create function plugyard.enqueue(entry jsonb, input text) returns bigint
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  of_tenant uuid := (entry ->> 'tenant_id')::uuid;
  own_level smallint := (entry ->> 'level')::smallint;
  due timestamptz := (entry ->> 'due_at')::timestamptz;
  lowest bigint := coalesce(plugyard.lowest_waiting_tag(), 0);
  own bigint;
  place bigint;
begin
  select max(last.tag) into own
  from generate_series(own_level, 2) as of_level (level) cross join lateral (
    select q.tag from plugyard.queued_executions q
    where q.tenant_id = of_tenant and q.level = of_level.level and q.state = 'queued' and q.tag is not null
    order by q.tag desc limit 1) as last;
  place := greatest(lowest, coalesce(own + 1, 0));
  insert into plugyard.queued_executions (
    id, tenant_id, plugin_id, version, call, input, level, state, tag, queued_at, due_at, once)
  values (
    (entry ->> 'id')::uuid, of_tenant, (entry ->> 'plugin_id')::uuid, entry ->> 'version', entry -> 'call', input,
    own_level, 'queued', case when due <= now() then place end, (entry ->> 'queued_at')::timestamptz, due,
    entry ->> 'once')
  on conflict (tenant_id, plugin_id, once) where once is not null do nothing;
  if not found then
    return null;
  end if;
  perform plugyard.defer_queued((entry ->> 'id')::uuid, of_tenant, 0, place, due);
  return place - lowest;
end $$;

-- Takes what is next for a worker: the jobs are its own afterwards and the executions run. What is beyond the number that
-- a plugin may have running everywhere is parked, until one of them ends. Takers follow one another, so that the number
-- holds; a job whose execution is gone, or was queued anew meanwhile, goes.
create function plugyard.take_queued(worker bigint, at_most integer, per_plugin integer)
returns table (
  job_id bigint, id uuid, tenant_id uuid, plugin_id uuid, version text, call jsonb, input text, level smallint,
  state text, turn integer, run integer, lost integer, queued_at timestamptz, due_at timestamptz,
  started_at timestamptz, ended_at timestamptz, attempts jsonb, output text, cancel_requested boolean, once text)
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
#variable_conflict use_column
declare
  before text := plugyard.start_crossing();
  found_jobs integer;
  taken integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('plugyard.take_queued'));
  -- What is parked or gone makes room for others, which are behind it.
  for round in 1 .. 50 loop
    return query
    with candidate as materialized (
      select j.id as job, j.priority, (j.args ->> 'execution')::uuid as execution, (j.args ->> 'tenant')::uuid as tenant,
        (j.args ->> 'turn')::integer as turn
      from plugyard_queue.procrastinate_jobs j
      where j.status = 'todo' and j.queue_name = 'executions' and (j.scheduled_at is null or j.scheduled_at <= now())
      order by j.priority desc, j.id
      limit at_most
      for update skip locked
    ), looked as materialized (
      select c.*, q.plugin_id, q.state as is_now,
        count(*) filter (where q.state = 'queued') over (partition by q.plugin_id order by c.priority desc, c.job) as nth
      from candidate c
      left join plugyard.queued_executions q on q.id = c.execution and q.tenant_id = c.tenant and q.turn = c.turn
        and q.state in ('queued', 'running')
    ), busy as materialized (
      select p.plugin_id, (
        select count(*) from plugyard.queued_executions r where r.plugin_id = p.plugin_id and r.state = 'running') as n
      from (select distinct l.plugin_id from looked l where l.is_now = 'queued') as p
    ), judged as materialized (
      select l.*, l.is_now is null as gone,
        coalesce(l.is_now = 'queued' and per_plugin > 0 and l.nth + b.n > per_plugin, false) as full
      from looked l left join busy b on b.plugin_id = l.plugin_id
    ), parked as (
      update plugyard.queued_executions q set state = 'parked', tag = coalesce(q.tag, -g.priority)
      from judged g where q.id = g.execution and g.full
    ), dropped as (
      delete from plugyard_queue.procrastinate_jobs j using judged g where j.id = g.job and (g.gone or g.full)
    ), doing as (
      update plugyard_queue.procrastinate_jobs j set status = 'doing', worker_id = worker
      from judged g where j.id = g.job and not (g.gone or g.full)
    ), begun as (
      update plugyard.queued_executions q
      set state = 'running', run = q.run + 1, lost = q.lost + (q.state = 'running')::integer,
        started_at = clock_timestamp()
      from judged g where q.id = g.execution and not (g.gone or g.full)
      returning g.job, g.priority, q.*
    )
    select b.job, b.id, b.tenant_id, b.plugin_id, b.version, b.call, b.input, b.level, b.state, b.turn, b.run,
      b.lost, b.queued_at, b.due_at, b.started_at, b.ended_at, b.attempts, b.output, b.cancel_requested, b.once
    from begun b order by b.priority desc, b.job;
    get diagnostics found_jobs = row_count;
    taken := taken + found_jobs;
    exit when taken > 0 or not exists (
      select from plugyard_queue.procrastinate_jobs j
      where j.status = 'todo' and j.queue_name = 'executions' and (j.scheduled_at is null or j.scheduled_at <= now()));
  end loop;
  perform plugyard.stop_crossing(before);
end $$;

-- Lets so many of a plugin's parked executions wait for their turn again.
create function plugyard.unpark(of_plugin uuid, how_many integer) returns void
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  one record;
begin
  for one in
    update plugyard.queued_executions q set state = 'queued', turn = q.turn + 1
    where q.id in (
      select p.id from plugyard.queued_executions p where p.plugin_id = of_plugin and p.state = 'parked'
      order by p.tag, p.id limit how_many for update skip locked)
    returning q.id, q.tenant_id, q.turn, q.tag, q.due_at
  loop
    perform plugyard.defer_queued(one.id, one.tenant_id, one.turn, coalesce(one.tag, 0), one.due_at);
  end loop;
end $$;

-- Writes what became of runs, and answers which of them were not theirs to end any more: somebody else has taken the
-- execution since. What comes twice, because its answer was lost, is not among those.
create function plugyard.end_queued(ends jsonb) returns uuid[]
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  one record;
  row_now plugyard.queued_executions;
  lost_runs uuid[] := '{}';
begin
  for one in
    select * from jsonb_to_recordset(ends) as x (
      id uuid, run integer, state text, attempts jsonb, output text, due_at timestamptz, ended_at timestamptz,
      job bigint, waits boolean)
    -- In one order, so that two batches do not wait for each other.
    order by id
  loop
    update plugyard.queued_executions q set
      state = one.state,
      attempts = one.attempts,
      output = one.output,
      input = case when one.state = 'ended' then null else q.input end,
      turn = q.turn + (one.state = 'queued')::integer,
      due_at = coalesce(one.due_at, q.due_at),
      tag = case when one.state = 'queued' and one.due_at <= now() then q.tag end,
      ended_at = one.ended_at
    where q.id = one.id and q.run = one.run
      and case when one.waits then q.state in ('queued', 'parked') else q.state = 'running' end
    returning * into row_now;
    if found then
      if one.state = 'queued' then
        perform plugyard.defer_queued(
          row_now.id, row_now.tenant_id, row_now.turn, coalesce(row_now.tag, plugyard.lowest_waiting_tag(), 0),
          row_now.due_at);
      end if;
      if row_now.state in ('ended', 'dead') and row_now.call ->> 'webhook' is not null then
        insert into plugyard.webhook_deliveries (execution_id, tenant_id, plugin_id, url)
        values (row_now.id, row_now.tenant_id, row_now.plugin_id, row_now.call ->> 'webhook')
        on conflict do nothing;
      end if;
      if not one.waits then
        perform plugyard.unpark(row_now.plugin_id, 1);
      end if;
    elsif not exists (
      select from plugyard.queued_executions q
      where q.id = one.id and q.run = one.run and q.state = one.state and q.state in ('ended', 'dead'))
    then
      lost_runs := lost_runs || one.id;
    end if;
    if one.job is not null then
      delete from plugyard_queue.procrastinate_jobs j where j.id = one.job and j.status = 'doing'
        and (j.args ->> 'execution')::uuid = one.id;
    end if;
  end loop;
  return lost_runs;
end $$;

-- Those of the executions that somebody wants to end; a worker runs those of many tenants.
create function plugyard.cancelled_of(ids uuid[]) returns setof uuid
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  return query select q.id from plugyard.queued_executions q where q.id = any (ids) and q.cancel_requested;
  perform plugyard.stop_crossing(before);
end $$;

-- Takes deliveries that are due, for whoever tells; one that is not through within two minutes is taken again.
create function plugyard.take_webhooks(at_most integer) returns setof plugyard.webhook_deliveries
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  return query
  update plugyard.webhook_deliveries d set tries = d.tries + 1, due_at = now() + interval '2 minutes'
  where d.execution_id in (
    select w.execution_id from plugyard.webhook_deliveries w where w.due_at <= now()
    order by w.due_at limit at_most for update skip locked)
  returning d.*;
  perform plugyard.stop_crossing(before);
end $$;

-- Keeps the queue: what is parked without need waits again, inputs go a day after they came, and results a day after
-- they were ready. A dead letter keeps its input for a day behind its death, and itself for a month.
create function plugyard.keep_queue(per_plugin integer) returns void
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
  one record;
begin
  if exists (select from plugyard.queued_executions where state = 'parked') then
    perform pg_advisory_xact_lock(hashtext('plugyard.take_queued'));
    for one in
      select p.plugin_id, (
        select count(*) from plugyard.queued_executions r where r.plugin_id = p.plugin_id and r.state in ('running')) as n
      from (select distinct q.plugin_id from plugyard.queued_executions q where q.state = 'parked') as p
    loop
      if per_plugin = 0 or one.n < per_plugin then
        perform plugyard.unpark(one.plugin_id, case when per_plugin = 0 then 1000 else per_plugin - one.n::integer end);
      end if;
    end loop;
  end if;
  update plugyard.queued_executions q set input = null
  where q.input is not null and q.queued_at < now() - interval '1 day' and q.state <> 'running'
    and (q.state <> 'dead' or q.ended_at < now() - interval '1 day');
  delete from plugyard.queued_executions q
  where q.state in ('ended', 'dead')
    and q.ended_at < now() - case when q.state = 'dead' then interval '30 days' else interval '1 day' end;
  perform plugyard.stop_crossing(before);
end $$;

-- As it was, and with the ends of runs that were queued: what somebody else has taken meanwhile is recorded by them.
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
    insert into plugyard.plugin_executions (
      id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms, cpu_ms, peak_memory_bytes,
      service_calls, start, error_code, error_message, error_stack, error_limit, error_used, actor, request_id,
      input_bytes, output_bytes, queued_at, attempts)
    select
      id, tenant_id, plugin_id, version, function, status, started_at, ended_at, wall_ms, cpu_ms, peak_memory_bytes,
      service_calls, start, error_code, error_message, error_stack, error_limit, error_used, actor, request_id,
      input_bytes, output_bytes, queued_at, attempts
    from jsonb_to_recordset(part -> 'executions') as x (
      id uuid, tenant_id uuid, plugin_id uuid, version text, function text, status text, started_at timestamptz,
      ended_at timestamptz, wall_ms double precision, cpu_ms double precision, peak_memory_bytes bigint,
      service_calls integer, start text, error_code text, error_message text, error_stack text, error_limit bigint,
      error_used bigint, actor text, request_id text, input_bytes bigint, output_bytes bigint, queued_at timestamptz,
      attempts jsonb)
    where id <> all (not_theirs)
    on conflict do nothing;
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
