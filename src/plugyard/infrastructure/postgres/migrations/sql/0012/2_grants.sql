grant select, insert, update on plugyard.webhooks to :service;
grant select, insert, update, delete on plugyard.webhook_taken to :service;
grant execute on function plugyard.webhook_by_hash(bytea) to :service;
