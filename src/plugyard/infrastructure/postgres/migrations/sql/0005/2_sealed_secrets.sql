-- Secrets of plugins, sealed -------------------------------------------------------------------------------------

-- What infrastructure/postgres/seals.py wrote, and the id of the key that it used. The plain column stays empty from now
-- on; rows that are older are sealed by the service when it starts.
alter table plugyard.plugins
  add column sealed_secrets bytea,
  add column sealed_by text,
  add constraint plugins_sealed_by_a_key check ((sealed_secrets is null) = (sealed_by is null));
create index plugins_by_seal on plugyard.plugins (sealed_by, id) where sealed_by is not null;
create index plugins_unsealed on plugyard.plugins (id) where secrets <> '{}';
