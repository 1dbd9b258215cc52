grant select, insert, update on plugyard.publishers, plugyard.publisher_keys, plugyard.version_origins to :service;
grant execute on function plugyard.skeleton(text) to :service;
