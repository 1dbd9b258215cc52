"""API keys with scopes and successors.

Before code.

Revision ID: 0003
"""

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """There is nothing to take away yet."""
