-- Executions that wait their turn. Used by queued.py and by the worker's `infrastructure/queue`.

-- # enqueue
select plugyard.enqueue(%(entry)s, %(input)s) as before;

-- # queued execution
select
  id, tenant_id, plugin_id, version, call, null as input, octet_length(input) as input_bytes, level, state, turn, run, lost, queued_at, due_at, started_at,
  ended_at, attempts, null as output, cancel_requested, once
from plugyard.queued_executions where id = %(id)s;

-- # queued execution, whole
select
  id, tenant_id, plugin_id, version, call, input, octet_length(input) as input_bytes, level, state, turn, run, lost, queued_at, due_at, started_at,
  ended_at, attempts, output, cancel_requested, once
from plugyard.queued_executions where id = %(id)s;

-- # ask to cancel
update plugyard.queued_executions set cancel_requested = true where id = %(id)s and state = 'running';

-- # drop a dead letter
delete from plugyard.queued_executions where id = %(id)s and state = 'dead';

-- # take
select *, octet_length(input) as input_bytes from plugyard.take_queued(%(worker)s, %(at_most)s, %(per_plugin)s);

-- # is anybody there
select 1;

-- # beat
insert into plugyard_queue.procrastinate_workers (id, last_heartbeat) overriding system value
values (%(worker)s, now()) on conflict (id) do update set last_heartbeat = excluded.last_heartbeat;

-- # jobs of a worker
select id from plugyard_queue.procrastinate_jobs where worker_id = %(worker)s and status = 'doing';

-- # give back what never began
select plugyard.give_back_unbegun(%(jobs)s, %(worker)s);

-- # give jobs back
update plugyard_queue.procrastinate_jobs set status = 'todo', worker_id = null
where id = any(%(jobs)s) and status = 'doing' and worker_id = %(worker)s;

-- # delete jobs
delete from plugyard_queue.procrastinate_jobs where id = any(%(jobs)s);

-- # cancelled meanwhile
select plugyard.cancelled_of(%(ids)s::uuid[]) as id;

-- # keep the queue
select plugyard.keep_queue(%(per_plugin)s);

-- # jobs of the dead
update plugyard_queue.procrastinate_jobs j set status = 'todo', worker_id = null
where j.status = 'doing' and (j.worker_id is null or not exists (
  select from plugyard_queue.procrastinate_workers w
  where w.id = j.worker_id and w.last_heartbeat > now() - make_interval(secs => %(silent_s)s)))
returning j.id;

-- # wake the workers
select pg_notify('procrastinate_queue_v1#executions', '{"type": "job_inserted", "job_id": 0}');

-- # take webhooks
select execution_id, tenant_id, plugin_id, url, tries
from plugyard.take_webhooks(%(at_most)s, %(of_one)s, %(under_way)s);

-- # webhook told
delete from plugyard.webhook_deliveries where execution_id = %(id)s;

-- # webhook later
update plugyard.webhook_deliveries set due_at = %(due_at)s where execution_id = %(id)s;

-- # due schedules
select s.plugin_id, s.number, s.tenant_id, s.version, s.document, s.input, s.next_due
from plugyard.plugin_schedules s where s.next_due <= %(now)s or not s.looked_at
order by s.next_due nulls first limit %(limit)s for update skip locked;

-- # save next due
update plugyard.plugin_schedules set next_due = %(next_due)s, looked_at = true
where plugin_id = %(plugin_id)s and number = %(number)s;

-- # waiting in the outbox
-- From one tenant to the next by the index, so that what it costs are the tenants that wait and not their events; which of
-- them have their turn is chance, so that nobody is behind others for good.
with recursive waiting as (
  (select tenant_id from plugyard.outbox
   where delivered_at is null and type = 'plugin.event_published' order by tenant_id limit 1)
  union all
  select (
    select o.tenant_id from plugyard.outbox o
    where o.delivered_at is null and o.type = 'plugin.event_published' and o.tenant_id > w.tenant_id
    order by o.tenant_id limit 1)
  from waiting w where w.tenant_id is not null
),
served as materialized (
  select tenant_id from waiting where tenant_id is not null order by random() limit %(tenants)s
)
select theirs.* from served cross join lateral (
  select o.id, o.tenant_id, o.plugin_id, o.type, o.occurred_at, o.data, o.position from plugyard.outbox o
  where o.delivered_at is null and o.type = 'plugin.event_published' and o.tenant_id = served.tenant_id
  order by o.position limit %(of_each)s) as theirs
order by theirs.position;

-- # mark delivered
update plugyard.outbox set delivered_at = %(at)s where id = any(%(ids)s) and delivered_at is null;
