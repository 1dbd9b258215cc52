grant select, insert on plugyard.uncounted_executions to :service;
grant select on plugyard.tenant_rollups, plugyard.wall_rollups, plugyard.plugin_rollups to :service;
grant execute on function plugyard.wall_bucket(double precision), plugyard.fold_executions(integer) to :service;
