grant execute on function
  plugyard.give_back_unbegun(bigint[], bigint), plugyard.place_due()
  to :service;
grant select on plugyard.queue_waiting to :service;
