-- Plugins' events, by tenant ------------------------------------------------------------------------------------------

-- What waits to be delivered, for each tenant to have its turn. Older code reads all of it in one order, by the index
-- outbox_to_deliver.
create index outbox_to_deliver_to_tenant on plugyard.outbox (tenant_id, position)
  where delivered_at is null and type = 'plugin.event_published';
