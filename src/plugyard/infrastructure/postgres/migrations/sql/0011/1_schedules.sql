-- Schedules of active plugins ----------------------------------------------------------------------------------------

create table plugyard.plugin_schedules (
  plugin_id uuid not null,
  number integer not null,
  tenant_id uuid not null,
  version text not null,
  -- An entry of `schedules` in the manifest, and its input as text.
  document jsonb not null,
  input text,
  looked_at boolean not null default false,
  next_due timestamptz,
  primary key (plugin_id, number)
);
create index plugin_schedules_due on plugyard.plugin_schedules (next_due) where next_due is not null;
create index plugin_schedules_new on plugyard.plugin_schedules (plugin_id) where not looked_at;
call plugyard.isolate('plugyard.plugin_schedules');

-- A plugin has the schedules of the version that it points at, while it is active; with the change, not after it.
create function plugyard.plan_schedules() returns trigger language plpgsql set search_path = plugyard, pg_temp
as $$
begin
  delete from plugyard.plugin_schedules where plugin_id = new.id;
  if new.state = 'active' then
    insert into plugyard.plugin_schedules (plugin_id, number, tenant_id, version, document, input)
    select new.id, entry.number, new.tenant_id, v.version, entry.document - 'input', (entry.document -> 'input')::text
    from plugyard.plugin_versions v,
      jsonb_array_elements(v.manifest -> 'schedules') with ordinality as entry (document, number)
    where v.id = new.version_id and v.tenant_id = new.tenant_id;
  end if;
  return null;
end $$;
create trigger plan_schedules_of_a_new_one after insert on plugyard.plugins for each row
  when (new.state = 'active') execute function plugyard.plan_schedules();
create trigger plan_schedules after update of state, version_id on plugyard.plugins for each row
  when (old.state is distinct from new.state or old.version_id is distinct from new.version_id)
  execute function plugyard.plan_schedules();

-- Those that are active already have theirs from now on.
do $$
declare
  before text := plugyard.start_crossing();
begin
  insert into plugyard.plugin_schedules (plugin_id, number, tenant_id, version, document, input)
  select p.id, entry.number, p.tenant_id, v.version, entry.document - 'input', (entry.document -> 'input')::text
  from plugyard.plugins p join plugyard.plugin_versions v on v.id = p.version_id and v.tenant_id = p.tenant_id,
    jsonb_array_elements(v.manifest -> 'schedules') with ordinality as entry (document, number)
  where p.state = 'active';
  perform plugyard.stop_crossing(before);
end $$;
