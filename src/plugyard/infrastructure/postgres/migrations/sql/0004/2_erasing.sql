-- The end of a tenant ----------------------------------------------------------------------------------------------

-- A rating belongs to who gave it. It stays theirs when the listing goes with its publisher; nobody else sees it then.
alter table plugyard.plugin_ratings drop constraint plugin_ratings_listing_id_fkey;

-- The tables that hold rows of tenants. What stays is left out: the trail, whose entries a proof may chain together,
-- and the names of listings, which must not come into other hands.
create function plugyard.tables_of_tenants() returns setof regclass language sql stable
set search_path = plugyard, pg_temp
as $$
  select c.oid::regclass from pg_class c join pg_attribute a on a.attrelid = c.oid
  where c.relnamespace = 'plugyard'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    and a.attname = 'tenant_id' and not a.attisdropped
    and c.relname not like 'audit%' and c.relname <> 'listing_names'
  order by c.relname
$$;

-- Takes rows of a tenant that is being deleted, so many of each table, and answers how many went; at 0 nothing is left.
-- The service's role may delete from few tables, hence the definer; it looks that the tenant was given up before.
create function plugyard.erase_tenant(doomed uuid, at_most integer) returns bigint
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
  target regclass;
  went bigint;
  erased bigint := 0;
begin
  if not exists (select from plugyard.tenants where id = doomed and state = 'deleting') then
    raise exception 'tenant % is not being deleted', doomed;
  end if;
  for target in
    select t from plugyard.tables_of_tenants() t where t not in ('plugins'::regclass, 'plugin_versions'::regclass)
  loop
    begin
      execute format(
        'delete from %1$s where tenant_id = $1 and (tableoid, ctid) in '
        '(select tableoid, ctid from %1$s where tenant_id = $1 limit $2)', target)
      using doomed, at_most;
      get diagnostics went = row_count;
      erased := erased + went;
    exception when foreign_key_violation then
      -- Another table still refers to these rows; it goes first, and these in the next round.
      null;
    end;
  end loop;
  if erased = 0 then
    -- A plugin and its versions name each other, so they go in one transaction.
    delete from plugyard.plugin_versions where tenant_id = doomed;
    get diagnostics erased = row_count;
    delete from plugyard.plugins where tenant_id = doomed;
    get diagnostics went = row_count;
    erased := erased + went;
  end if;
  perform plugyard.stop_crossing(before);
  return erased;
end $$;
revoke execute on function
  plugyard.hide_listings(), plugyard.tables_of_tenants(), plugyard.erase_tenant(uuid, integer) from public;
