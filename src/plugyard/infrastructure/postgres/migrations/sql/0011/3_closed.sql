revoke all on schema plugyard_queue from public;
revoke execute on all functions in schema plugyard_queue from public;
revoke execute on function
  plugyard.defer_queued(uuid, uuid, integer, bigint, timestamptz), plugyard.lowest_waiting_tag(),
  plugyard.enqueue(jsonb, text), plugyard.take_queued(bigint, integer, integer), plugyard.unpark(uuid, integer),
  plugyard.end_queued(jsonb), plugyard.keep_queue(integer), plugyard.cancelled_of(uuid[]),
  plugyard.take_webhooks(integer), plugyard.plan_schedules(), plugyard.forget_events(timestamptz)
  from public;
