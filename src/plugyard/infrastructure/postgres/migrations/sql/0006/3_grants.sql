grant select, insert, update on plugyard.version_standings, plugyard.version_rescans to :service;
grant select, insert on plugyard.rescan_demands to :service;
