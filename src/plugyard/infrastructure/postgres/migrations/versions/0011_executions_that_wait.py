"""Executions that wait their turn, and procrastinate's tables in a schema of their own.

Before code.

Revision ID: 0011
"""

from alembic import op
from procrastinate.schema import SchemaManager

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lets procrastinate make its tables, and runs the scripts.

    The library is pinned to the version whose tables these are; another one comes with a migration of its own.
    """
    op.execute("create schema plugyard_queue")
    op.execute("set local search_path = plugyard_queue")
    bind = op.get_bind().execution_options(no_parameters=True)
    bind.exec_driver_sql(SchemaManager.get_schema())
    op.execute("set local search_path to default")
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; what waits is forgotten."""
    for statement in (
        "drop function plugyard.enqueue(jsonb, text)",
        "drop function plugyard.lowest_waiting_tag()",
        "drop function plugyard.take_queued(bigint, integer, integer)",
        "drop function plugyard.keep_queue(integer)",
        "drop function plugyard.cancelled_of(uuid[])",
        "drop function plugyard.end_queued(jsonb) cascade",
        "drop function plugyard.unpark(uuid, integer)",
        "drop function plugyard.defer_queued(uuid, uuid, integer, bigint, timestamptz)",
        "drop trigger plan_schedules on plugyard.plugins",
        "drop trigger plan_schedules_of_a_new_one on plugyard.plugins",
        "drop function plugyard.plan_schedules()",
        "drop table plugyard.plugin_schedules",
        "drop function plugyard.take_webhooks(integer)",
        "drop table plugyard.webhook_deliveries",
        "drop table plugyard.queued_executions",
        "alter table plugyard.plugin_executions drop column attempts, drop column queued_at",
        "drop index plugyard.outbox_to_deliver",
        "drop function plugyard.forget_events(timestamptz)",
        "alter table plugyard.outbox drop column delivered_at",
        "drop schema plugyard_queue cascade",
    ):
        op.execute(statement)
    run_record_of_before()


def run_record_of_before() -> None:
    """The recording function as the first schema has it."""
    from pathlib import Path

    text = (Path(__file__).parents[1] / "sql" / "0001" / "2_executions.sql").read_text(encoding="utf-8")
    begin = text.index("create function plugyard.record_executions")
    end = text.index("end $$;", begin) + len("end $$;")
    bind = op.get_bind().execution_options(no_parameters=True)
    bind.exec_driver_sql(text[begin:end].replace("create function", "create or replace function"))
