"""Where suspicious versions stand, and what later checks found.

Before code.

Revision ID: 0006
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; what was decided is forgotten."""
    for table in ("rescan_demands", "version_rescans", "version_standings"):
        op.execute(f"drop table plugyard.{table}")
