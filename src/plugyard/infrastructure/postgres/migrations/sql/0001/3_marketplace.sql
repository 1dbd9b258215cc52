-- The marketplace: what one tenant offers, all tenants read -------------------------------------------------------

-- Where a listing stands among the featured, from 0 to 1: the same rule as `featured_score` in domain/marketplace.py.
create function plugyard.featured_score(
  rating_sum bigint, rating_count bigint, installations bigint, health_score integer
) returns double precision language sql immutable parallel safe
as $$
  select 0.5::double precision * ((rating_sum + 3.0::double precision * 5) / (rating_count + 5) - 1) / 4
       + 0.3::double precision
         * least(1.0::double precision, ln(1 + installations::double precision) / ln(10001::double precision))
       + 0.2::double precision * (coalesce(health_score, 80)::double precision / 100)
$$;

-- A name belongs to the tenant that published under it first, for good: a withdrawn plugin's name in other hands
-- would be a trap for those who knew it.
create table plugyard.listing_names (
  name text primary key,
  tenant_id uuid not null references plugyard.tenants (id)
);
call plugyard.isolate('plugyard.listing_names');

create table plugyard.marketplace_listings (
  id uuid primary key,
  tenant_id uuid not null,
  plugin_id uuid not null,
  version_id uuid not null,
  name text not null references plugyard.listing_names (name),
  version text not null,
  digest text not null,
  entry text not null,
  manifest jsonb not null,
  exports jsonb not null,
  packed_bytes bigint not null,
  category text not null,
  words tsvector not null,
  published_at timestamptz not null,
  withdrawn_at timestamptz,
  installations bigint not null default 0,
  rating_sum bigint not null default 0,
  rating_count bigint not null default 0,
  health_score integer check (health_score between 0 and 100),
  updated_at timestamptz not null default now(),
  constraint marketplace_listings_one_per_plugin unique (tenant_id, plugin_id),
  foreign key (tenant_id, plugin_id) references plugyard.plugins (tenant_id, id),
  foreign key (tenant_id, version_id) references plugyard.plugin_versions (tenant_id, id)
);
create unique index marketplace_listings_one_per_name
  on plugyard.marketplace_listings (name) where withdrawn_at is null;
create index marketplace_listings_by_score
  on plugyard.marketplace_listings
  (plugyard.featured_score(rating_sum, rating_count, installations, health_score) desc, id desc)
  where withdrawn_at is null;
create index marketplace_listings_by_category on plugyard.marketplace_listings (category) where withdrawn_at is null;
create index marketplace_listings_by_manifest on plugyard.marketplace_listings using gin (manifest jsonb_path_ops);
create index marketplace_listings_by_words on plugyard.marketplace_listings using gin (words);
call plugyard.isolate('plugyard.marketplace_listings');
create policy published_for_all on plugyard.marketplace_listings for select
  using (withdrawn_at is null and plugyard.current_tenant() is not null);
create trigger touch before update on plugyard.marketplace_listings for each row execute function plugyard.touch();

create table plugyard.plugin_ratings (
  tenant_id uuid not null references plugyard.tenants (id),
  listing_id uuid not null references plugyard.marketplace_listings (id),
  stars integer not null check (stars between 1 and 5),
  review text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, listing_id)
);
create index plugin_ratings_by_age on plugyard.plugin_ratings (listing_id, updated_at desc, tenant_id desc);
call plugyard.isolate('plugyard.plugin_ratings');
-- Reviews are public where their listing is.
create policy published_for_all on plugyard.plugin_ratings for select
  using (exists (select from plugyard.marketplace_listings l where l.id = listing_id and l.withdrawn_at is null));
create trigger touch before update on plugyard.plugin_ratings for each row execute function plugyard.touch();

-- Keeps a listing's sums with its ratings. The rating is one tenant's, the listing another's, hence the definer.
create function plugyard.sum_ratings() returns trigger language plpgsql security definer
set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  if tg_op <> 'INSERT' then
    update plugyard.marketplace_listings
    set rating_sum = rating_sum - old.stars, rating_count = rating_count - 1 where id = old.listing_id;
  end if;
  if tg_op <> 'DELETE' then
    update plugyard.marketplace_listings
    set rating_sum = rating_sum + new.stars, rating_count = rating_count + 1 where id = new.listing_id;
  end if;
  perform plugyard.stop_crossing(before);
  return null;
end $$;
create trigger sum_ratings after insert or update or delete on plugyard.plugin_ratings
  for each row execute function plugyard.sum_ratings();

-- Counts one installation of a published listing, which is another tenant's row.
create function plugyard.count_installation(listing uuid) returns void language plpgsql security definer
set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  update plugyard.marketplace_listings set installations = installations + 1
  where id = listing and withdrawn_at is null;
  perform plugyard.stop_crossing(before);
end $$;

-- A listing's health is that of its publisher's plugin.
create function plugyard.follow_health() returns trigger language plpgsql set search_path = plugyard, pg_temp
as $$
begin
  update plugyard.marketplace_listings set health_score = new.health_score
  where tenant_id = new.tenant_id and plugin_id = new.id;
  return null;
end $$;
create trigger follow_health after update of health_score on plugyard.plugins for each row
  when (old.health_score is distinct from new.health_score) execute function plugyard.follow_health();

create view plugyard.marketplace_categories with (security_invoker = true) as
select category, count(*) as listings from plugyard.marketplace_listings where withdrawn_at is null group by category;
