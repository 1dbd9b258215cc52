-- What waits for consent, since when each right is held, and when it was used -------------------------------------

alter table plugyard.plugins
  -- The upgrade that an admin has to answer, or has declined; a plugin has one at most.
  add column waiting jsonb,
  -- Since when each right is held, by its words. What was granted before has the time of the install.
  add column grant_times jsonb not null default '{}';
create index plugins_waiting on plugyard.plugins (tenant_id, id)
  where waiting is not null and waiting ->> 'decided_at' is null;

-- Sorts as the precedence of a version does, so that a newer one on offer is found by one comparison.
alter table plugyard.marketplace_listings add column precedence text collate "C" not null default '';
do $$
declare
  before text := plugyard.start_crossing();
begin
  update plugyard.marketplace_listings l set precedence = v.precedence
  from plugyard.plugin_versions v where v.tenant_id = l.tenant_id and v.id = l.version_id;
  perform plugyard.stop_crossing(before);
end $$;

create table plugyard.used_rights (
  tenant_id uuid not null,
  plugin_id uuid not null,
  service text not null,
  -- A host or a topic; empty for the service as a whole.
  name text not null,
  first_used_at timestamptz not null,
  last_used_at timestamptz not null,
  primary key (tenant_id, plugin_id, service, name),
  foreign key (tenant_id, plugin_id) references plugyard.plugins (tenant_id, id)
);
call plugyard.isolate('plugyard.used_rights');

-- Notes when rights were used; uses of many tenants come together. A plugin keeps so many names of a service at most,
-- because a wide grant lets it use names without end; what its grant spells out, and what was noted before, is noted
-- all the same.
create function plugyard.touch_rights(uses jsonb, at_most integer) returns void
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  with used as (
    select p.tenant_id, p.id as plugin_id, u.service, u.name, u.at,
      u.name = ''
        or p.grants @> jsonb_build_array(jsonb_build_object('service', u.service, 'hosts', jsonb_build_array(u.name)))
        or p.grants @> jsonb_build_array(jsonb_build_object('service', u.service, 'topics', jsonb_build_array(u.name)))
        as spelt_out,
      exists (
        select from plugyard.used_rights k
        where k.tenant_id = p.tenant_id and k.plugin_id = p.id and k.service = u.service and k.name = u.name)
        as known,
      (select count(*) from plugyard.used_rights k
        where k.tenant_id = p.tenant_id and k.plugin_id = p.id and k.service = u.service) as held
    from jsonb_to_recordset(uses) as u (tenant_id uuid, plugin_id uuid, service text, name text, at timestamptz)
    join plugyard.plugins p on p.id = u.plugin_id and p.tenant_id = u.tenant_id
  ), counted as (
    select *, row_number() over (
      partition by tenant_id, plugin_id, service, known or spelt_out order by name) as place
    from used
  )
  insert into plugyard.used_rights as noted (tenant_id, plugin_id, service, name, first_used_at, last_used_at)
  select tenant_id, plugin_id, service, name, at, at from counted
  where known or spelt_out or held + place <= at_most
  order by 1, 2, 3, 4
  on conflict (tenant_id, plugin_id, service, name) do update
  set last_used_at = greatest(noted.last_used_at, excluded.last_used_at);
  perform plugyard.stop_crossing(before);
end $$;
revoke execute on function plugyard.touch_rights(jsonb, integer) from public;
