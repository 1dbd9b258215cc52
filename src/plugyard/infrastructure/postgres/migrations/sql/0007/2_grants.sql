grant select on plugyard.used_rights to :service;
grant execute on function plugyard.touch_rights(jsonb, integer) to :service;
