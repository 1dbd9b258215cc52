-- Sealed secrets and their rotation. Used by sealed.py.

-- # plugins by key
select sealed_by, count(*) as n from plugyard.plugins where sealed_by is not null group by sealed_by order by sealed_by;

-- # plugins to reseal
select id, tenant_id, secrets, sealed_secrets, sealed_by from plugyard.plugins
where id > %(after)s and (sealed_by <> %(first)s or secrets <> '{}')
order by id limit %(limit)s for update skip locked;

-- # reseal
update plugyard.plugins set secrets = %(none)s, sealed_secrets = %(sealed_secrets)s, sealed_by = %(sealed_by)s
where id = %(id)s;

-- # plain secrets
select exists (select from plugyard.plugins where secrets <> '{}') as there;
