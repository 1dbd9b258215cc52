"""Executions are counted by the hour and by the day, and long lists have the indexes that they lacked.

Before code. Older code records as before and its executions are counted too. What is on record is counted once, and
recording waits for that: half a minute for each million of executions on two shared cores. What waited has begun as the
recording of before, and is in no count until the owner says `select plugyard.count_anew()`.

Revision ID: 0013
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import earlier_function, run_scripts

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes the counts away; the executions themselves stay."""
    bind = op.get_bind().execution_options(no_parameters=True)
    bind.exec_driver_sql(earlier_function("0011", "1_queue.sql", "record_executions"))
    bind.exec_driver_sql(earlier_function("0001", "2_executions.sql", "clean_up"))
    op.execute("drop function plugyard.count_anew(), plugyard.fold_executions(integer)")
    op.execute(
        "drop table plugyard.uncounted_executions, plugyard.tenant_rollups, "
        "plugyard.wall_rollups, plugyard.plugin_rollups"
    )
    op.execute("drop function plugyard.wall_bucket(double precision)")
    op.execute("alter table plugyard.plugin_executions drop column logs")
    op.execute("drop index plugyard.version_standings_by_tenant, plugyard.version_standings_by_name")
    op.execute("alter table plugyard.plugin_versions drop column packed_bytes")
    op.execute("create index plugin_versions_by_tenant_and_digest on plugyard.plugin_versions (tenant_id, digest)")
