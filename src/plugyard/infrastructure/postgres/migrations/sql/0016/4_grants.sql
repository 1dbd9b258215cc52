grant execute on function plugyard.clear_old(interval, interval, integer), plugyard.drop_old_day(text, interval),
  plugyard.forget_events(timestamptz, integer) to :service;
