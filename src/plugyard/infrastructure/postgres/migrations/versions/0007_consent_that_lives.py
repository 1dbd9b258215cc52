"""Upgrades that wait for consent, and which rights were used.

Before code.

Revision ID: 0007
"""

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """There is nothing to take away yet."""
