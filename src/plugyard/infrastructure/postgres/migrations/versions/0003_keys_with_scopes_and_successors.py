"""API keys with scopes and successors.

Before code.

Revision ID: 0003
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; a narrowed key would become a wide one, so it is revoked."""
    # The owner is bound by the tenants' rules as well, and would find no key to revoke.
    op.execute("select plugyard.start_crossing()")
    op.execute("update plugyard.api_keys set revoked_at = now() where scopes <> '[]' and revoked_at is null")
    op.execute("select plugyard.stop_crossing('')")
    op.execute("alter table plugyard.api_keys drop column scopes, drop column succeeds")
