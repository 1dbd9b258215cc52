"""Upgrades that wait for consent, and which rights were used.

Before code.

Revision ID: 0007
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs the scripts."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes it away again; upgrades that wait are forgotten."""
    for statement in (
        "drop function plugyard.touch_rights(jsonb, integer)",
        "drop table plugyard.used_rights",
        "alter table plugyard.marketplace_listings drop column precedence",
        "drop index plugyard.plugins_waiting",
        "alter table plugyard.plugins drop column waiting, drop column grant_times",
    ):
        op.execute(statement)
