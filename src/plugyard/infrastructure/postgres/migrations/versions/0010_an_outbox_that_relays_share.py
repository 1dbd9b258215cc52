"""Slots in the outbox, and a trigger that wakes relays.

Before code. Adding the column writes the outbox anew, during which nobody writes events.

Revision ID: 0010
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; which events were published stays known."""
    op.execute("drop trigger wake_relays on plugyard.outbox")
    op.execute("drop function plugyard.wake_relays()")
    op.execute("drop index plugyard.outbox_published")
    op.execute(
        "alter table plugyard.outbox drop column slot, "
        "reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor)"
    )
