-- A trail that proves itself -------------------------------------------------------------------------------------

-- Each tenant's entries make a chain, and those of no tenant another one, which has the nil UUID for a name. The link of
-- an entry holds its place and a hash over what the entry says and the hash before it; docs/audit.md says how anybody
-- can compute it again.

-- The trail outlives the tenant that it tells of.
alter table plugyard.audit_log drop constraint audit_log_tenant_id_fkey;

create table plugyard.audit_links (
  chain uuid not null,
  sequence bigint not null check (sequence > 0),
  tenant_id uuid,
  entry_id uuid not null unique references plugyard.audit_log (id),
  hash bytea not null check (length(hash) = 32),
  -- Two entries at one place would be a fork.
  primary key (chain, sequence)
);
call plugyard.isolate('plugyard.audit_links');

create table plugyard.audit_heads (
  chain uuid primary key,
  tenant_id uuid,
  sequence bigint not null,
  hash bytea not null check (length(hash) = 32)
);
call plugyard.isolate('plugyard.audit_heads');

create index audit_log_by_actor on plugyard.audit_log (tenant_id, actor, at desc, id desc);
create index audit_log_by_action on plugyard.audit_log (tenant_id, action, at desc, id desc);
create index audit_log_by_target on plugyard.audit_log (tenant_id, target, at desc, id desc);

-- The canonical form of an entry at its place in the chain: JSON on one line, with its members in this order.
create function plugyard.audit_line(entry plugyard.audit_log, sequence bigint) returns text
language sql stable strict parallel safe set search_path = plugyard, pg_temp
as $$
  select '{"sequence":' || sequence
    || ',"id":' || to_json(entry.id)
    || ',"tenantId":' || coalesce(to_json(entry.tenant_id)::text, 'null')
    || ',"at":"' || to_char(entry.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","actor":' || to_json(entry.actor)
    || ',"action":' || to_json(entry.action)
    || ',"target":' || to_json(entry.target)
    || ',"requestId":' || to_json(entry.request_id)
    || ',"detail":' || entry.detail
    || '}'
$$;

-- Links an entry to the end of its chain. The lock on the head is what gives concurrent writers one order.
create function plugyard.chain_entry(entry plugyard.audit_log) returns void
language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  own_chain uuid := coalesce(entry.tenant_id, '00000000-0000-0000-0000-000000000000');
  head plugyard.audit_heads;
begin
  select * into head from plugyard.audit_heads where chain = own_chain for update;
  if not found then
    insert into plugyard.audit_heads (chain, tenant_id, sequence, hash)
    values (own_chain, entry.tenant_id, 0, decode(repeat('00', 32), 'hex')) on conflict do nothing;
    select * into head from plugyard.audit_heads where chain = own_chain for update;
  end if;
  head.sequence := head.sequence + 1;
  head.hash := sha256(convert_to(encode(head.hash, 'hex') || plugyard.audit_line(entry, head.sequence), 'UTF8'));
  insert into plugyard.audit_links (chain, sequence, tenant_id, entry_id, hash)
  values (own_chain, head.sequence, entry.tenant_id, entry.id, head.hash);
  update plugyard.audit_heads set sequence = head.sequence, hash = head.hash where chain = own_chain;
end $$;

-- Runs with the definer's rights: the service's role adds entries and can write neither a link nor a head.
create function plugyard.chain_new_entry() returns trigger
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  perform plugyard.chain_entry(new);
  perform plugyard.stop_crossing(before);
  return null;
end $$;

-- At the commit and not at once: the head is then the last lock that a transaction takes, so that it is held for
-- moments, and two transactions that write to one chain never wait for each other crosswise.
create constraint trigger chained after insert on plugyard.audit_log
  deferrable initially deferred for each row execute function plugyard.chain_new_entry();

-- For the owner of the tables, too. Who gets past this, as a superuser can, is found by verifying the chain.
create function plugyard.refuse_change() returns trigger language plpgsql set search_path = plugyard, pg_temp
as $$
begin
  raise exception 'The audit trail is only added to.' using errcode = 'insufficient_privilege';
end $$;

create trigger only_added_to before update or delete on plugyard.audit_log
  for each row execute function plugyard.refuse_change();
create trigger never_emptied before truncate on plugyard.audit_log
  for each statement execute function plugyard.refuse_change();
create trigger only_added_to before update or delete on plugyard.audit_links
  for each row execute function plugyard.refuse_change();
create trigger never_emptied before truncate on plugyard.audit_links
  for each statement execute function plugyard.refuse_change();
create trigger only_moved_on before update on plugyard.audit_heads
  for each row when (new.sequence <> old.sequence + 1 or new.chain <> old.chain)
  execute function plugyard.refuse_change();
create trigger never_removed before delete on plugyard.audit_heads
  for each row execute function plugyard.refuse_change();
create trigger never_emptied before truncate on plugyard.audit_heads
  for each statement execute function plugyard.refuse_change();

-- What is there already is chained in the order in which it was written down.
do $$
declare
  before text := plugyard.start_crossing();
  one plugyard.audit_log;
begin
  for one in select * from plugyard.audit_log order by tenant_id, at, id loop
    perform plugyard.chain_entry(one);
  end loop;
  perform plugyard.stop_crossing(before);
end $$;
