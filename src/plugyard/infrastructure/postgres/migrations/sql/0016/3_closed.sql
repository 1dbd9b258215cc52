revoke execute on function plugyard.event_served(plugyard.outbox, timestamptz),
  plugyard.clear_old(interval, interval, integer), plugyard.drop_old_day(text, interval),
  plugyard.forget_events(timestamptz, integer) from public;
