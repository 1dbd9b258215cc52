-- Plugins, their versions and dependencies. Used by plugins.py. Row-level security adds the tenant to each of these.
-- Columns are always named: a migration that adds one must not change what a prepared statement answers.

-- # add plugin
insert into plugyard.plugins (
  id, tenant_id, name, state, version_id, previous_version_id, origin_listing_id, configuration, secrets, sealed_secrets, sealed_by, grants,
  installed_at, activated_at, suspended_because, health_status, health_score, health_checked_at, created_at, updated_at,
  waiting, grant_times)
values (
  %(id)s, %(tenant_id)s, %(name)s, %(state)s, %(version_id)s, %(previous_version_id)s, %(origin_listing_id)s,
  %(configuration)s, %(secrets)s, %(sealed_secrets)s, %(sealed_by)s, %(grants)s, %(installed_at)s, %(activated_at)s, %(suspended_because)s,
  %(health_status)s, %(health_score)s, %(health_checked_at)s, %(created_at)s, %(updated_at)s,
  %(waiting)s, %(grant_times)s);

-- # save plugin
update plugyard.plugins set
  state = %(state)s, version_id = %(version_id)s, previous_version_id = %(previous_version_id)s,
  origin_listing_id = %(origin_listing_id)s, configuration = %(configuration)s, secrets = %(secrets)s,
  sealed_secrets = %(sealed_secrets)s, sealed_by = %(sealed_by)s,
  grants = %(grants)s, installed_at = %(installed_at)s, activated_at = %(activated_at)s,
  suspended_because = %(suspended_because)s, health_status = %(health_status)s, health_score = %(health_score)s,
  health_checked_at = %(health_checked_at)s, updated_at = %(updated_at)s, waiting = %(waiting)s,
  grant_times = %(grant_times)s
where id = %(id)s and tenant_id = %(tenant_id)s;

-- # plugin by id
select
  id, tenant_id, name, state, version_id, previous_version_id, origin_listing_id, configuration, secrets, sealed_secrets, sealed_by, grants,
  installed_at, activated_at, suspended_because, health_status, health_score, health_checked_at, created_at, updated_at,
  waiting, grant_times
from plugyard.plugins where id = %(id)s;

-- # plugin by id, locked
select
  id, tenant_id, name, state, version_id, previous_version_id, origin_listing_id, configuration, secrets, sealed_secrets, sealed_by, grants,
  installed_at, activated_at, suspended_because, health_status, health_score, health_checked_at, created_at, updated_at,
  waiting, grant_times
from plugyard.plugins where id = %(id)s for update;

-- # plugin by name
select
  id, tenant_id, name, state, version_id, previous_version_id, origin_listing_id, configuration, secrets, sealed_secrets, sealed_by, grants,
  installed_at, activated_at, suspended_because, health_status, health_score, health_checked_at, created_at, updated_at,
  waiting, grant_times
from plugyard.plugins
where tenant_id = plugyard.current_tenant() and name = %(name)s and state <> 'uninstalled';

-- # plugin by name, locked
select
  id, tenant_id, name, state, version_id, previous_version_id, origin_listing_id, configuration, secrets, sealed_secrets, sealed_by, grants,
  installed_at, activated_at, suspended_because, health_status, health_score, health_checked_at, created_at, updated_at,
  waiting, grant_times
from plugyard.plugins
where tenant_id = plugyard.current_tenant() and name = %(name)s and state <> 'uninstalled' for update;

-- # installed plugins
select
  id, tenant_id, name, state, version_id, previous_version_id, origin_listing_id, configuration, secrets, sealed_secrets, sealed_by, grants,
  installed_at, activated_at, suspended_because, health_status, health_score, health_checked_at, created_at, updated_at,
  waiting, grant_times
from plugyard.plugins
where tenant_id = plugyard.current_tenant() and state in ('installed', 'active', 'inactive', 'suspended')
order by name;

-- # add version
insert into plugyard.plugin_versions (
  id, tenant_id, plugin_id, version, precedence, digest, entry, manifest, report, exports, runtime, category, author,
  permissions, words, created_at)
values (
  %(id)s, %(tenant_id)s, %(plugin_id)s, %(version)s, %(precedence)s, %(digest)s, %(entry)s, %(manifest)s, %(report)s,
  %(exports)s, %(runtime)s, %(category)s, %(author)s, %(permissions)s, array_to_tsvector(%(words)s::text[]),
  %(created_at)s);

-- # versions by id
select id, tenant_id, plugin_id, digest, entry, manifest, report, exports, created_at
from plugyard.plugin_versions where id = any(%(ids)s::uuid[]);

-- # version by number
select id, tenant_id, plugin_id, digest, entry, manifest, report, exports, created_at
from plugyard.plugin_versions where plugin_id = %(plugin_id)s and version = %(number)s;

-- # forget dependencies
delete from plugyard.plugin_dependencies where version_id = %(version_id)s;

-- # add dependency
insert into plugyard.plugin_dependencies (tenant_id, version_id, name, range, resolved_version, resolved_plugin_id)
values (plugyard.current_tenant(), %(version_id)s, %(name)s, %(range)s, %(resolved_version)s, %(resolved_plugin_id)s);

-- # dependencies
select name, range, resolved_version, resolved_plugin_id
from plugyard.plugin_dependencies where version_id = %(version_id)s order by name;

-- # used rights
select plugin_id, service, name, last_used_at from plugyard.used_rights
where tenant_id = plugyard.current_tenant() and plugin_id = any(%(ids)s::uuid[]);

-- # touch rights
select plugyard.touch_rights(%(uses)s, %(at_most)s);
