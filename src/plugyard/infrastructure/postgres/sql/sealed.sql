-- Sealed secrets and their rotation. Used by sealed.py.

-- # sealed by key
select sealed_by, count(*) as n from (
  select sealed_by from plugyard.plugins where sealed_by is not null
  union all select sealed_by from plugyard.webhooks) as every
group by sealed_by order by sealed_by;

-- # to reseal
with of_plugins as (
  select id, tenant_id, id as plugin_id, secrets, sealed_secrets, sealed_by from plugyard.plugins
  where id > %(after)s and (sealed_by <> %(first)s or secrets <> '{}')
  order by id limit %(limit)s for update skip locked),
of_webhooks as (
  select id, tenant_id, plugin_id, sealed_secrets, sealed_by from plugyard.webhooks
  where id > %(after)s and sealed_by <> %(first)s
  order by id limit %(limit)s for update skip locked)
select id, tenant_id, plugin_id, secrets, sealed_secrets, sealed_by, false as is_webhook from of_plugins
union all select id, tenant_id, plugin_id, '{}'::jsonb, sealed_secrets, sealed_by, true from of_webhooks
order by id limit %(limit)s;

-- # reseal webhook
update plugyard.webhooks set sealed_secrets = %(sealed_secrets)s, sealed_by = %(sealed_by)s where id = %(id)s;

-- # reseal
update plugyard.plugins set secrets = %(none)s, sealed_secrets = %(sealed_secrets)s, sealed_by = %(sealed_by)s
where id = %(id)s;

-- # plain secrets
select exists (select from plugyard.plugins where secrets <> '{}') as there;
