"""Publishers, their keys, and where versions come from.

Before code.

Revision ID: 0008
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; signatures are forgotten."""
    op.execute("alter table plugyard.marketplace_listings drop column signature, drop column skeleton")
    op.execute("drop function plugyard.skeleton(text)")
    for table in ("version_origins", "publisher_keys", "publishers"):
        op.execute(f"drop table plugyard.{table}")
