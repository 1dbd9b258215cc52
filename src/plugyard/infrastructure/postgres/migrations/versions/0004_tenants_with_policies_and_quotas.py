"""Tenants with a standing, ceilings and quotas, and the end of one.

Before code.

Revision ID: 0004
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts; a tenant that is there is active, and nothing was decided for it."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again, with the ratings that outlived their listings, which the older rule does not know."""
    for statement in (
        "drop function plugyard.erase_tenant(uuid, integer)",
        "drop function plugyard.tables_of_tenants()",
        "select plugyard.start_crossing()",
        "delete from plugyard.plugin_ratings r "
        "where not exists (select from plugyard.marketplace_listings l where l.id = r.listing_id)",
        "select plugyard.stop_crossing('')",
        "alter table plugyard.plugin_ratings add foreign key (listing_id) "
        "references plugyard.marketplace_listings (id)",
        "drop trigger hide_listings on plugyard.tenants",
        "drop function plugyard.hide_listings()",
        "drop policy published_for_all on plugyard.marketplace_listings",
        "create policy published_for_all on plugyard.marketplace_listings for select "
        "using (withdrawn_at is null and plugyard.current_tenant() is not null)",
        "alter table plugyard.marketplace_listings drop column hidden",
        "drop index plugyard.plugin_versions_by_tenant_and_digest",
        "alter table plugyard.tenants drop column bounds, drop column state, drop column suspended_because, "
        "drop column suspended_at, drop column deleted_at",
    ):
        op.execute(statement)
