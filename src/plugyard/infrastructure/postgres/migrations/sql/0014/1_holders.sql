-- Who is at what was claimed ----------------------------------------------------------------------------------------

-- The replica that carries a request out, by the name that its connections have; none where older code claimed it.
alter table plugyard.idempotency_keys add column holder text;
alter table plugyard.webhook_taken add column holder text;

-- Whether a replica is there: it holds the advisory lock (1886151528, its name's hash) on the session on which it hears
-- of changes, and PostgreSQL gives that free when the session ends, however it ends. To look takes no lock.
create function plugyard.lives(replica text) returns boolean language sql stable set search_path = plugyard, pg_temp
as $$
  select exists (
    select from pg_locks
    where locktype = 'advisory' and granted and objsubid = 2 and classid::bigint = 1886151528
      and objid::bigint = hashtext(replica)::bigint & 4294967295
      and database = (select oid from pg_database where datname = current_database()))
$$;
revoke execute on function plugyard.lives(text) from public;
