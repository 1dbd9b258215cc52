"""A trail whose entries are chained by hashes, and sealed secrets.

Before code.

Revision ID: 0005
"""

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """There is nothing to take away yet."""
