-- Listings and ratings. Used by marketplace.py. Published listings are every tenant's to read.

-- # reserve listing name
insert into plugyard.listing_names (name, tenant_id) values (%(name)s, plugyard.current_tenant())
on conflict (name) do nothing;

-- # own listing name
select 1 from plugyard.listing_names where name = %(name)s and tenant_id = plugyard.current_tenant();

-- # save listing
insert into plugyard.marketplace_listings (
  id, tenant_id, plugin_id, version_id, name, version, digest, entry, manifest, exports, packed_bytes, category, words,
  published_at, withdrawn_at, health_score, precedence, signature)
values (
  %(id)s, %(tenant_id)s, %(plugin_id)s, %(version_id)s, %(name)s, %(version)s, %(digest)s, %(entry)s, %(manifest)s,
  %(exports)s, %(packed_bytes)s, %(category)s, array_to_tsvector(%(words)s::text[]), %(published_at)s,
  %(withdrawn_at)s, %(health_score)s, %(precedence)s, %(signature)s)
on conflict (id) do update set
  version_id = excluded.version_id, name = excluded.name, version = excluded.version, digest = excluded.digest,
  entry = excluded.entry, manifest = excluded.manifest, exports = excluded.exports,
  packed_bytes = excluded.packed_bytes, category = excluded.category, words = excluded.words,
  published_at = excluded.published_at, withdrawn_at = excluded.withdrawn_at, health_score = excluded.health_score,
  precedence = excluded.precedence, signature = excluded.signature;

-- # listing by id
select
  id, tenant_id, plugin_id, version_id, name, version, digest, entry, manifest, exports, packed_bytes, published_at,
  withdrawn_at, installations, rating_sum, rating_count, health_score, signature
from plugyard.marketplace_listings where id = %(id)s and (withdrawn_at is null or %(withdrawn)s);

-- # listing of a plugin
select
  id, tenant_id, plugin_id, version_id, name, version, digest, entry, manifest, exports, packed_bytes, published_at,
  withdrawn_at, installations, rating_sum, rating_count, health_score, signature
from plugyard.marketplace_listings
where tenant_id = plugyard.current_tenant() and plugin_id = %(plugin_id)s;

-- # listing by name
select
  id, tenant_id, plugin_id, version_id, name, version, digest, entry, manifest, exports, packed_bytes, published_at,
  withdrawn_at, installations, rating_sum, rating_count, health_score, signature
from plugyard.marketplace_listings where name = %(name)s and withdrawn_at is null;

-- # featured listings
select
  id, tenant_id, plugin_id, version_id, name, version, digest, entry, manifest, exports, packed_bytes, published_at,
  withdrawn_at, installations, rating_sum, rating_count, health_score, signature
from plugyard.marketplace_listings where withdrawn_at is null
order by plugyard.featured_score(rating_sum, rating_count, installations, health_score) desc, id desc
limit %(limit)s;

-- # categories
select category, listings from plugyard.marketplace_categories order by listings desc, category;

-- # count installation
select plugyard.count_installation(%(id)s);

-- # hold a listing
select pg_advisory_xact_lock_shared(hashtextextended('plugyard listing ' || %(id)s, 0));

-- # hold a listing alone
select pg_advisory_xact_lock(hashtextextended('plugyard listing ' || %(id)s, 0));

-- # rate
insert into plugyard.plugin_ratings (tenant_id, listing_id, stars, review, created_at, updated_at)
select %(tenant_id)s, %(listing_id)s, %(stars)s, %(review)s, %(created_at)s, %(updated_at)s
-- No foreign key says so: a rating outlives the listing when its publisher's tenant is deleted.
where exists (select from plugyard.marketplace_listings where id = %(listing_id)s)
on conflict (tenant_id, listing_id) do update set
  stars = excluded.stars, review = excluded.review, updated_at = excluded.updated_at;
