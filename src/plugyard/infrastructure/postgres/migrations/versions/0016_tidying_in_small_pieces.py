"""What has served its time goes in small pieces, a day without the rest, and each tenant's events have their turn.

Before code. Older code tidies as before, with the lock that keeps everybody from recording taken last. Events cannot be
written while the outbox is read twice for its new indexes.

Revision ID: 0016
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import earlier_function, run_scripts

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; nothing is forgotten by that."""
    bind = op.get_bind().execution_options(no_parameters=True)
    bind.exec_driver_sql(earlier_function("0013", "2_recording.sql", "clean_up"))
    op.execute(
        "drop function plugyard.clear_old(interval, interval, integer), plugyard.drop_old_day(text, interval), "
        "plugyard.forget_events(timestamptz, integer)"
    )
    op.execute("drop function plugyard.event_served(plugyard.outbox, timestamptz)")
    op.execute("drop index plugyard.outbox_occurred, plugyard.outbox_to_deliver_to_tenant")
