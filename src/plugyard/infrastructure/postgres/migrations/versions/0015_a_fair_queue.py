"""What a worker gives back without having begun it was not lost with it.

Before code. Older code gives jobs back by themselves, as it did.

Revision ID: 0015
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes the functions away."""
    op.execute("drop function plugyard.give_back_unbegun(bigint[], bigint)")
