grant execute on function plugyard.erase_tenant(uuid, integer) to :service;
