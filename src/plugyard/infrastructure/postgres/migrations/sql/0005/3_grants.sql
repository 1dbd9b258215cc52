-- The service's role reads links and heads; the triggers write them.
grant select on plugyard.audit_links, plugyard.audit_heads to :service;
grant execute on function plugyard.audit_line(plugyard.audit_log, bigint) to :service;
