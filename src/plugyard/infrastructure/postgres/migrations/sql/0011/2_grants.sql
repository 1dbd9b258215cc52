grant select, insert, update, delete on
  plugyard.queued_executions, plugyard.webhook_deliveries, plugyard.plugin_schedules to :service;
grant execute on function
  plugyard.defer_queued(uuid, uuid, integer, bigint, timestamptz), plugyard.lowest_waiting_tag(),
  plugyard.enqueue(jsonb, text), plugyard.take_queued(bigint, integer, integer), plugyard.unpark(uuid, integer),
  plugyard.end_queued(jsonb), plugyard.keep_queue(integer), plugyard.cancelled_of(uuid[]),
  plugyard.take_webhooks(integer), plugyard.plan_schedules()
  to :service;
grant update (delivered_at) on plugyard.outbox to :service;
grant execute on function plugyard.forget_events(timestamptz) to :service;
-- procrastinate's worker reads and writes its own tables.
grant usage on schema plugyard_queue to :service;
grant select, insert, update, delete on all tables in schema plugyard_queue to :service;
grant usage on all sequences in schema plugyard_queue to :service;
grant execute on all functions in schema plugyard_queue to :service;
