-- The rule of the tenant tables asks once for each statement who the tenant is, and not for each row: the setting is
-- read and made a UUID again every time, which was most of what a long list cost. What the rule says is the same.
create or replace procedure plugyard.isolate(target regclass, tenant_column text default 'tenant_id') language plpgsql
as $$
begin
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format(
    'create policy of_the_tenant on %s '
    'using (%I = (select plugyard.current_tenant()) or (select plugyard.crosses_tenants()))',
    target, tenant_column);
end $$;

do $$
declare
  one record;
begin
  for one in select tablename from pg_policies where schemaname = 'plugyard' and policyname = 'of_the_tenant' loop
    execute format(
      'alter policy of_the_tenant on plugyard.%I '
      'using (%I = (select plugyard.current_tenant()) or (select plugyard.crosses_tenants()))',
      one.tablename, case one.tablename when 'tenants' then 'id' else 'tenant_id' end);
  end loop;
end $$;
