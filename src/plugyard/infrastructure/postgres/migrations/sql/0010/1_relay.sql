-- The outbox in slots, for relays that share it ----------------------------------------------------------------------

-- Which of 64 slots an event is in: the last six bits of its plugin's id, which are random in UUID version 7 (RFC 9562,
-- section 5.7). All events of a plugin are in one. The column is stored, because an index on the expression could not be
-- used below row-level security: its functions are not leakproof.
alter table plugyard.outbox
  add column slot smallint not null generated always as ((get_byte(uuid_send(plugin_id), 15) & 63)::smallint) stored;

-- What waits, by slot. It holds unpublished rows alone, so it stays small however many are kept.
create index outbox_waiting_in_slot on plugyard.outbox (slot, position) where published_at is null;
-- For the clean-up. Rows are published in about the order in which they lie.
create index outbox_published on plugyard.outbox using brin (published_at);
-- Every row is changed once; what that leaves behind must not pile up in the index of what waits.
alter table plugyard.outbox set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

-- Wakes the relays that sleep. A notification makes commits wait for each other, so it is sent only where somebody
-- sleeps: a relay that does holds the advisory lock (1886151525, slot) of each slot that it leads, and a transaction that
-- wrote to a slot holds it shared to its end, so that no relay falls asleep over it. `postgres/outbox.py` is the other
-- side.
create function plugyard.wake_relays() returns trigger language plpgsql set search_path = plugyard, pg_temp
as $$
begin
  if exists (
    select from (select distinct slot from inserted) as written
    where not pg_try_advisory_xact_lock_shared(1886151525, written.slot)
  ) then
    perform pg_notify('plugyard_outbox', '');
  end if;
  return null;
end $$;
revoke execute on function plugyard.wake_relays() from public;
create trigger wake_relays after insert on plugyard.outbox
  referencing new table as inserted for each statement execute function plugyard.wake_relays();
