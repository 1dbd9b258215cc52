-- Places of what comes back -------------------------------------------------------------------------------------------

-- How many of a tenant's executions wait, where those are two hundred or more; counted by whoever keeps the queue.
create table plugyard.queue_waiting (
  tenant_id uuid primary key,
  waiting bigint not null,
  counted_at timestamptz not null
);
call plugyard.isolate('plugyard.queue_waiting');

-- What is not yet due has no place, and its job the number -2147483647 in the place of one.
create index procrastinate_jobs_unplaced on plugyard_queue.procrastinate_jobs (scheduled_at)
  where status = 'todo' and priority = -2147483647;

-- As it was, and without a place for what is to have one when it is due.
create or replace function plugyard.defer_queued(execution uuid, tenant uuid, turn integer, place bigint, due timestamptz)
returns void language plpgsql set search_path = plugyard_queue, pg_temp
as $$
begin
  perform procrastinate_defer_jobs_v1(array[row(
    'executions', 'execute',
    case when place is null then -2147483647 else -least(place, 2147483646) end::integer, null, null,
    jsonb_build_object('execution', execution, 'tenant', tenant, 'turn', turn),
    case when place is null or due > now() then due end)::procrastinate_job_to_defer_v1]);
end $$;

-- Gives what has come due a place, as `enqueue` does: behind the tenant's own work of the same or a higher priority,
-- and never before whoever is next. A place that was given beforehand would be the place of another time: before everybody
-- who came since, or behind all that came after the queue was empty and places began at 0 again. Called by who takes.
create function plugyard.place_due() returns void language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  lowest bigint;
begin
  if not exists (
    select from plugyard_queue.procrastinate_jobs j
    where j.status = 'todo' and j.priority = -2147483647 and j.scheduled_at <= now())
  then
    return;
  end if;
  lowest := coalesce(plugyard.lowest_waiting_tag(), 0);
  with due as materialized (
    select j.id as job, j.scheduled_at, q.id, q.tenant_id, coalesce(q.level, 0) as level
    from plugyard_queue.procrastinate_jobs j
    left join plugyard.queued_executions q on q.id = (j.args ->> 'execution')::uuid
      and q.turn = (j.args ->> 'turn')::integer and q.state = 'queued' and q.tag is null
    where j.status = 'todo' and j.priority = -2147483647 and j.scheduled_at <= now()
    order by j.scheduled_at limit 500
    for update of j skip locked
  ), begins as materialized (
    select one.tenant_id, one.level, greatest(lowest, (
      select max(last.tag) + 1
      from generate_series(one.level, 2) as of_level (level) cross join lateral (
        select q.tag from plugyard.queued_executions q
        where q.tenant_id = one.tenant_id and q.level = of_level.level and q.state = 'queued' and q.tag is not null
        order by q.tag desc limit 1) as last)) as first
    from (select distinct d.tenant_id, d.level from due d) as one
  ), in_order as (
    select d.job, d.id, d.tenant_id, b.first,
      row_number() over (partition by d.tenant_id order by d.level desc, d.scheduled_at, d.job) as nth
    from due d join begins b on b.level = d.level and b.tenant_id is not distinct from d.tenant_id
  ), placed as materialized (
    -- One behind the other, each no earlier than its level begins.
    select i.job, i.id, i.nth + max(i.first - i.nth) over (
      partition by i.tenant_id order by i.nth rows unbounded preceding) as place
    from in_order i
  ), tagged as (
    update plugyard.queued_executions q set tag = p.place
    from placed p where q.id = p.id and q.state = 'queued' and q.tag is null
  )
  -- One whose execution is gone goes when it is taken.
  update plugyard_queue.procrastinate_jobs j set priority = -least(p.place, 2147483646)::integer, scheduled_at = null
  from placed p where j.id = p.job;
end $$;
revoke execute on function plugyard.place_due() from public;

-- As it was, and it answers how many of the tenant's own wait already, whatever for: all are counted up to two
-- hundred, and beyond that it is what was counted within the last seconds. What is not yet due has no place.
create or replace function plugyard.enqueue(entry jsonb, input text) returns bigint
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  of_tenant uuid := (entry ->> 'tenant_id')::uuid;
  own_level smallint := (entry ->> 'level')::smallint;
  due timestamptz := (entry ->> 'due_at')::timestamptz;
  lowest bigint := coalesce(plugyard.lowest_waiting_tag(), 0);
  own bigint;
  place bigint;
  waiting bigint;
begin
  select max(last.tag) into own
  from generate_series(own_level, 2) as of_level (level) cross join lateral (
    select q.tag from plugyard.queued_executions q
    where q.tenant_id = of_tenant and q.level = of_level.level and q.state = 'queued' and q.tag is not null
    order by q.tag desc limit 1) as last;
  place := greatest(lowest, coalesce(own + 1, 0));
  select count(*) into waiting from (
    select from plugyard.queued_executions q where q.tenant_id = of_tenant and q.state in ('queued', 'parked')
    limit 200) as counted;
  if waiting = 200 then
    waiting := greatest(waiting, coalesce(
      (select w.waiting from plugyard.queue_waiting w
        where w.tenant_id = of_tenant and w.counted_at > now() - interval '1 minute'),
      place - lowest));
  end if;
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
  perform plugyard.defer_queued((entry ->> 'id')::uuid, of_tenant, 0, case when due <= now() then place end, due);
  return waiting;
end $$;

-- As it was, with places for what has come due.
create or replace function plugyard.take_queued(worker bigint, at_most integer, per_plugin integer)
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
    perform plugyard.place_due();
    return query
    with candidate as materialized (
      select j.id as job, j.priority, (j.args ->> 'execution')::uuid as execution, (j.args ->> 'tenant')::uuid as tenant,
        (j.args ->> 'turn')::integer as turn
      from plugyard_queue.procrastinate_jobs j
      where j.status = 'todo' and j.queue_name = 'executions' and (j.scheduled_at is null or j.scheduled_at <= now())
        and j.priority > -2147483647
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

-- As it was; what was parked for long is no longer before all who came since.
create or replace function plugyard.unpark(of_plugin uuid, how_many integer) returns void
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  one record;
begin
  for one in
    update plugyard.queued_executions q set state = 'queued', turn = q.turn + 1,
      tag = greatest(q.tag, plugyard.lowest_waiting_tag() + follows.nth)
    from (
      select p.id, row_number() over (order by p.tag, p.id) - 1 as nth
      from (
        select p.id, p.tag from plugyard.queued_executions p where p.plugin_id = of_plugin and p.state = 'parked'
        order by p.tag, p.id limit how_many for update skip locked) as p) as follows
    where q.id = follows.id
    returning q.id, q.tenant_id, q.turn, q.tag, q.due_at
  loop
    perform plugyard.defer_queued(one.id, one.tenant_id, one.turn, coalesce(one.tag, 0), one.due_at);
  end loop;
end $$;

-- As it was, except for the places of what comes back, and for the job of one that somebody else runs by now.
create or replace function plugyard.end_queued(ends jsonb) returns uuid[]
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  one record;
  row_now plugyard.queued_executions;
  lost_runs uuid[] := '{}';
  runs_elsewhere boolean;
begin
  for one in
    select * from jsonb_to_recordset(ends) as x (
      id uuid, run integer, state text, attempts jsonb, output text, due_at timestamptz, ended_at timestamptz,
      job bigint, waits boolean)
    -- In one order, so that two batches do not wait for each other.
    order by id
  loop
    runs_elsewhere := false;
    update plugyard.queued_executions q set
      state = one.state,
      attempts = one.attempts,
      output = one.output,
      input = case when one.state = 'ended' then null else q.input end,
      turn = q.turn + (one.state = 'queued')::integer,
      due_at = coalesce(one.due_at, q.due_at),
      -- What was interrupted goes on where it was. What is tried again, or had no room, is placed when it is due; so is
      -- what older code interrupts, which names a time for that too.
      tag = case when one.state = 'queued' and one.due_at is null then greatest(q.tag, plugyard.lowest_waiting_tag()) end,
      ended_at = one.ended_at
    where q.id = one.id and q.run = one.run
      and case when one.waits then q.state in ('queued', 'parked') else q.state = 'running' end
    returning * into row_now;
    if found then
      if one.state = 'queued' then
        perform plugyard.defer_queued(row_now.id, row_now.tenant_id, row_now.turn, row_now.tag, row_now.due_at);
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
      runs_elsewhere := exists (
        select from plugyard.queued_executions q where q.id = one.id and q.state = 'running');
    end if;
    -- Whoever else runs it by now has it by the same job.
    if one.job is not null and not runs_elsewhere then
      delete from plugyard_queue.procrastinate_jobs j where j.id = one.job and j.status = 'doing'
        and (j.args ->> 'execution')::uuid = one.id;
    end if;
  end loop;
  return lost_runs;
end $$;

-- As it was, and it counts what waits.
create or replace function plugyard.keep_queue(per_plugin integer) returns void
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
  one record;
begin
  if pg_try_advisory_xact_lock(hashtext('plugyard.queue_waiting')) and not exists (
    select from plugyard.queue_waiting where counted_at > now() - interval '4 seconds')
  then
    with counted as (
      select q.tenant_id, count(*) as waiting from plugyard.queued_executions q
      where q.state in ('queued', 'parked') group by q.tenant_id having count(*) >= 200
    ), fewer as (
      delete from plugyard.queue_waiting w where not exists (select from counted c where c.tenant_id = w.tenant_id))
    insert into plugyard.queue_waiting (tenant_id, waiting, counted_at)
    select c.tenant_id, c.waiting, now() from counted c
    on conflict (tenant_id) do update set waiting = excluded.waiting, counted_at = excluded.counted_at;
  end if;
  update plugyard.queued_executions q set input = null
  where q.input is not null and q.queued_at < now() - interval '1 day' and q.state <> 'running'
    and (q.state <> 'dead' or q.ended_at < now() - interval '1 day');
  delete from plugyard.queued_executions q
  where q.state in ('ended', 'dead')
    and q.ended_at < now() - case when q.state = 'dead' then interval '30 days' else interval '1 day' end;
  -- Last, because nobody takes anything meanwhile.
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
  perform plugyard.stop_crossing(before);
end $$;

-- What waits already for a time to come.
do $$
declare
  before text := plugyard.start_crossing();
begin
  update plugyard_queue.procrastinate_jobs j
  set priority = -2147483647, scheduled_at = coalesce(j.scheduled_at, now())
  from plugyard.queued_executions q
  where j.status = 'todo' and q.id = (j.args ->> 'execution')::uuid and q.turn = (j.args ->> 'turn')::integer
    and q.state = 'queued' and q.tag is null;
  perform plugyard.stop_crossing(before);
end $$;
