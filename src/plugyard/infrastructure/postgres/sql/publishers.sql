-- Publishers, their keys and where versions come from. Used by publishers.py. Publishers and keys are every tenant's to
-- read, so what is a tenant's own is asked for by its id.

-- # add publisher key
insert into plugyard.publisher_keys (
  tenant_id, id, name, public_key, created_at, revoked_at, invalid_from, revoked_because)
values (
  %(tenant_id)s, %(id)s, %(name)s, %(public_key)s, %(created_at)s, %(revoked_at)s, %(invalid_from)s,
  %(revoked_because)s);

-- # publisher key
select tenant_id, id, name, public_key, created_at, revoked_at, invalid_from, revoked_because
from plugyard.publisher_keys where tenant_id = plugyard.current_tenant() and id = %(id)s;

-- # publisher key, locked
select tenant_id, id, name, public_key, created_at, revoked_at, invalid_from, revoked_because
from plugyard.publisher_keys where tenant_id = plugyard.current_tenant() and id = %(id)s for update;

-- # save publisher key
update plugyard.publisher_keys set
  revoked_at = %(revoked_at)s, invalid_from = %(invalid_from)s, revoked_because = %(revoked_because)s
where tenant_id = %(tenant_id)s and id = %(id)s;

-- # publisher
select tenant_id, name, verified_at, verified_by from plugyard.publishers where tenant_id = %(tenant_id)s;

-- # save publisher
insert into plugyard.publishers (tenant_id, name, skeleton, verified_at, verified_by)
values (%(tenant_id)s, %(name)s, %(skeleton)s, %(verified_at)s, %(verified_by)s)
on conflict (tenant_id) do update set
  name = excluded.name, skeleton = excluded.skeleton, verified_at = excluded.verified_at, verified_by = excluded.verified_by;

-- # verified publishers that read the same
select tenant_id, name, verified_at, verified_by from plugyard.publishers
where skeleton = %(skeleton)s and verified_at is not null and tenant_id <> plugyard.current_tenant() order by verified_at;

-- # names near
select l.name, p.name as publisher
from plugyard.marketplace_listings l
left join plugyard.publishers p on p.tenant_id = l.tenant_id
where l.withdrawn_at is null and l.tenant_id <> plugyard.current_tenant()
  and length(l.skeleton) between %(length)s - 1 and %(length)s + 1
  and ((l.skeleton >= %(beginning)s and l.skeleton < %(beginning)s || '~')
    -- In the order of bytes, a tilde comes behind everything that a name holds.
    or (reverse(l.skeleton) collate "C" >= %(end)s and reverse(l.skeleton) collate "C" < %(end)s || '~'))
order by l.name limit 10000;

-- # save origin
insert into plugyard.version_origins (version_id, tenant_id, publisher_id, signature)
values (%(version_id)s, %(tenant_id)s, %(publisher_id)s, %(signature)s)
on conflict (version_id) do update set publisher_id = excluded.publisher_id, signature = excluded.signature;

-- # origins
select version_id, tenant_id, publisher_id, signature
from plugyard.version_origins where version_id = any(%(ids)s::uuid[]);

-- # trust in versions
select v.id as of, o.signature,
  p.tenant_id as publisher_id, p.name as publisher_name, p.verified_at, p.verified_by,
  k.tenant_id, k.id, k.name, k.public_key, k.created_at, k.revoked_at, k.invalid_from, k.revoked_because
from plugyard.plugin_versions v
left join plugyard.version_origins o on o.version_id = v.id
left join plugyard.publishers p on p.tenant_id = coalesce(o.publisher_id, v.tenant_id)
left join plugyard.publisher_keys k on k.tenant_id = o.publisher_id and k.id = o.signature ->> 'keyId'
where v.id = any(%(ids)s::uuid[]);

-- # trust in listings
select l.id as of, l.signature,
  p.tenant_id as publisher_id, p.name as publisher_name, p.verified_at, p.verified_by,
  k.tenant_id, k.id, k.name, k.public_key, k.created_at, k.revoked_at, k.invalid_from, k.revoked_because
from plugyard.marketplace_listings l
left join plugyard.publishers p on p.tenant_id = l.tenant_id
left join plugyard.publisher_keys k on k.tenant_id = l.tenant_id and k.id = l.signature ->> 'keyId'
where l.id = any(%(ids)s::uuid[]);
