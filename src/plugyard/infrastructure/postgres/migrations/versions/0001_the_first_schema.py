"""The first schema: tenants, plugins, executions, the marketplace, the trail, and who may see what.

Before code.

Revision ID: 0001
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts in the order of their names."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes everything away again."""
    op.execute("drop schema plugyard cascade")
