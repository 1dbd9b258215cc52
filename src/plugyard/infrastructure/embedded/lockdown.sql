-- What a superuser takes from everybody in the database of the plugins, once, after it was made. `:keeper` is the role
-- that owns it. Where no superuser is to be had, as on some managed servers, the roles and schemas still keep tenants'
-- tables apart, and what is listed here is what they may then see or hinder.

drop schema if exists public cascade;

-- No functions and no DO blocks of plugins: neither language is theirs.
revoke usage on language sql, plpgsql from public;

-- Names, sizes and queries of others. information_schema goes on showing each role what is its own.
revoke select on all tables in schema pg_catalog from public;
grant select on all tables in schema pg_catalog to :keeper;

do $$
declare
  one regprocedure;
begin
  for one in
    select oid::regprocedure from pg_catalog.pg_proc
    where pronamespace = 'pg_catalog'::regnamespace and (
      -- Large objects belong to no schema, so nothing would ever drop or count them.
      proname like 'lo\_%' or proname in ('loread', 'lowrite')
      -- Advisory locks are one space for all roles of a database; a plugin could fill the table of all locks.
      or proname like 'pg\_advisory\_%' or proname like 'pg\_try\_advisory\_%'
      -- Timeouts and the search path are the service's to set.
      or proname = 'set_config'
      or proname in ('pg_notify', 'pg_listening_channels', 'pg_notification_queue_usage')
      -- What others do.
      or proname like 'pg\_stat\_%' or proname like 'pg\_show\_%'
      or proname in ('pg_cancel_backend', 'pg_terminate_backend', 'pg_lock_status', 'pg_prepared_xact', 'pg_cursor',
                     'pg_prepared_statement', 'pg_blocking_pids', 'pg_safe_snapshot_blocking_pids',
                     'pg_export_snapshot', 'pg_get_multixact_members', 'pg_isolation_test_session_is_blocked')
      -- What others have, asked by number.
      or proname in ('pg_get_viewdef', 'pg_get_ruledef', 'pg_get_triggerdef', 'pg_get_functiondef', 'pg_get_indexdef',
                     'pg_get_userbyid', 'pg_get_statisticsobjdef', 'pg_get_partkeydef', 'pg_describe_object',
                     'pg_identify_object', 'pg_identify_object_as_address', 'pg_relation_filepath',
                     'pg_relation_filenode', 'pg_filenode_relation', 'pg_relation_size', 'pg_table_size',
                     'pg_indexes_size', 'pg_total_relation_size', 'pg_database_size', 'pg_tablespace_size',
                     'pg_tablespace_databases')
      -- These run a query that is given as text.
      or proname like '%\_to\_xml%'
      or proname like 'pg\_ls\_%' or proname like 'pg\_read\_%')
  loop
    execute format('revoke execute on function %s from public', one);
    execute format('grant execute on function %s to :keeper', one);
  end loop;
end $$;
