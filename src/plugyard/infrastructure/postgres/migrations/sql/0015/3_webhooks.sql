-- Whose webhooks are told --------------------------------------------------------------------------------------------

create index webhook_deliveries_of_a_tenant on plugyard.webhook_deliveries (tenant_id, due_at);

-- Takes deliveries that are due, for whoever tells: so many in all, and of one tenant no more than there may be under
-- way, with those that this teller has under way already. Tenants have their turns, those with the fewest under way first.
-- One that is not through within two minutes is taken again.
create function plugyard.take_webhooks(at_most integer, of_one integer, under_way jsonb)
returns setof plugyard.webhook_deliveries
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  return query
  with recursive tenant (id) as (
    -- One look into the index for each tenant, however much of one is due.
    (select w.tenant_id from plugyard.webhook_deliveries w order by w.tenant_id limit 1)
    union all
    select (
      select w.tenant_id from plugyard.webhook_deliveries w where w.tenant_id > t.id order by w.tenant_id limit 1)
    from tenant t where t.id is not null
  ), candidate as (
    select due.execution_id, due.due_at, has.under_way + row_number() over (
      partition by t.id order by due.due_at) as nth
    from tenant t
    cross join lateral (select coalesce((under_way ->> t.id::text)::integer, 0) as under_way) as has
    cross join lateral (
      select w.execution_id, w.due_at from plugyard.webhook_deliveries w
      where w.tenant_id = t.id and w.due_at <= now() order by w.due_at limit greatest(0, of_one - has.under_way)) as due
  ), taken as (
    select w.execution_id from plugyard.webhook_deliveries w
    where w.execution_id in (select c.execution_id from candidate c order by c.nth, c.due_at limit at_most)
      and w.due_at <= now()
    for update skip locked
  )
  update plugyard.webhook_deliveries d set tries = d.tries + 1, due_at = now() + interval '2 minutes'
  from taken where d.execution_id = taken.execution_id
  returning d.*;
  perform plugyard.stop_crossing(before);
end $$;
revoke execute on function plugyard.take_webhooks(integer, integer, jsonb) from public;
