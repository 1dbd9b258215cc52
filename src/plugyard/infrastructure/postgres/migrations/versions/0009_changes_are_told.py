"""What one replica changes, the others hear of.

Before code.

Revision ID: 0009
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; replicas then see changes when their copies age out."""
    for table in ("plugins", "api_keys", "tenants", "version_standings"):
        op.execute(f"drop trigger tell_of_changes on plugyard.{table}")
    op.execute("drop function plugyard.tell_of_changes()")
