-- Replicas keep copies for a moment. What one of them changes is told to the others, so that they read it anew at once;
-- a notification that is lost costs no more than the moment.

-- One line: the replica that changed it, what it is, and the ids. Who is told and what for, `changes.py` says.
create function plugyard.tell_of_changes() returns trigger language plpgsql set search_path = plugyard, pg_temp
as $$
declare
  teller text := coalesce(nullif(current_setting('plugyard.replica', true), ''), '-');
begin
  if tg_table_name = 'plugins' then
    perform pg_notify('plugyard_changes', format('%s plugin %s %s', teller, new.tenant_id, new.id));
  elsif tg_table_name = 'version_standings' then
    perform pg_notify('plugyard_changes', format('%s plugin %s %s', teller, new.tenant_id, new.plugin_id));
  elsif tg_table_name = 'tenants' then
    perform pg_notify('plugyard_changes', format('%s tenant %s %s', teller, new.id, new.state));
  else
    perform pg_notify('plugyard_changes', format('%s key %s -', teller, new.id));
  end if;
  return null;
end $$;
revoke execute on function plugyard.tell_of_changes() from public;

-- Health, times of use and the like change all the time and are nobody's to wait for.
create trigger tell_of_changes after update on plugyard.plugins for each row when (
  (old.state, old.version_id, old.grants, old.configuration, old.sealed_secrets)
    is distinct from (new.state, new.version_id, new.grants, new.configuration, new.sealed_secrets))
  execute function plugyard.tell_of_changes();
create trigger tell_of_changes after insert or update on plugyard.version_standings for each row
  execute function plugyard.tell_of_changes();
create trigger tell_of_changes after update on plugyard.tenants for each row when (
  (old.policy, old.bounds, old.modules_denied, old.state) is distinct from
  (new.policy, new.bounds, new.modules_denied, new.state))
  execute function plugyard.tell_of_changes();
create trigger tell_of_changes after update on plugyard.api_keys for each row when (
  (old.role, old.scopes, old.expires_at, old.revoked_at) is distinct from
  (new.role, new.scopes, new.expires_at, new.revoked_at))
  execute function plugyard.tell_of_changes();
