-- What the service's role may do: nothing by default, and no more than it needs. Left out where the owner serves.
grant usage on schema plugyard to :service;

grant select on plugyard.alembic_version to :service;
grant select, insert, update on
  plugyard.tenants, plugyard.api_keys, plugyard.plugins, plugyard.marketplace_listings, plugyard.plugin_ratings,
  plugyard.listing_names
  to :service;
-- Versions never change, the trail is only added to, executions and logs are facts.
grant select, insert on
  plugyard.plugin_versions, plugyard.audit_log, plugyard.plugin_executions, plugyard.plugin_logs
  to :service;
grant select, insert, delete on plugyard.plugin_dependencies to :service;
grant select, insert, update, delete on plugyard.idempotency_keys to :service;
grant select, insert, update (published_at) on plugyard.outbox to :service;
grant select on plugyard.plugin_metrics, plugyard.marketplace_categories to :service;

grant execute on function
  plugyard.current_tenant(), plugyard.crosses_tenants(), plugyard.touch(), plugyard.key_by_hash(bytea),
  plugyard.touch_keys(uuid[], timestamptz[]), plugyard.ensure_partitions(integer),
  plugyard.clean_up(interval, interval), plugyard.record_executions(jsonb), plugyard.plugin_health_score(jsonb),
  plugyard.featured_score(bigint, bigint, bigint, integer), plugyard.count_installation(uuid)
  to :service;
