"""What comes back to the queue has its place by the time at which it is due, and whatever waits is counted.

Before code. Older code calls the same functions. It gives jobs back by themselves, and takes webhooks by age alone, as
it did. Jobs that wait for a time to come are written anew.

Revision ID: 0015
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import earlier_function, run_scripts

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_CHANGED = ("defer_queued", "enqueue", "take_queued", "unpark", "end_queued", "keep_queue")


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Puts the functions back to what they were; what waits for a time to come is then before all others."""
    bind = op.get_bind().execution_options(no_parameters=True)
    for name in _CHANGED:
        bind.exec_driver_sql(earlier_function("0011", "1_queue.sql", name))
    op.execute("drop function plugyard.give_back_unbegun(bigint[], bigint), plugyard.place_due()")
    op.execute("drop function plugyard.take_webhooks(integer, integer, jsonb)")
    op.execute("drop index plugyard.webhook_deliveries_of_a_tenant")
    op.execute("drop table plugyard.queue_waiting")
    op.execute("drop index plugyard_queue.procrastinate_jobs_unplaced")
    op.execute("update plugyard_queue.procrastinate_jobs set priority = 0 where priority = -2147483647")
