"""Webhooks: public addresses of plugins' endpoints, and what they took lately.

Before code.

Revision ID: 0012
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; every address ends."""
    op.execute("drop function plugyard.webhook_by_hash(bytea)")
    for table in ("webhook_taken", "webhooks"):
        op.execute(f"drop table plugyard.{table}")
    op.execute("drop function plugyard.tell_of_webhooks()")
