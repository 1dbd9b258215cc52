"""What a replica claimed and never ended, because it died, is known to be anybody's; answers are kept with the records.

Before code. Older code claims without a name, and what it claimed is waited for as it waited.

Revision ID: 0014
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import earlier_function, run_scripts

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Forgets who claimed what; the claims stay."""
    bind = op.get_bind().execution_options(no_parameters=True)
    bind.exec_driver_sql(earlier_function("0013", "2_recording.sql", "record_executions"))
    op.execute("drop function plugyard.lives(text)")
    for table in ("idempotency_keys", "webhook_taken"):
        op.execute(f"alter table plugyard.{table} drop column holder")
