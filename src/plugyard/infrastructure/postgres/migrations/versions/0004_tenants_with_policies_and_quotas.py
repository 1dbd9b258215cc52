"""Tenants with a standing, ceilings and quotas.

Before code.

Revision ID: 0004
"""

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """There is nothing to take away yet."""
