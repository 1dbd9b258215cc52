grant execute on function
  plugyard.give_back_unbegun(bigint[], bigint), plugyard.place_due(),
  plugyard.take_webhooks(integer, integer, jsonb)
  to :service;
grant select on plugyard.queue_waiting to :service;
