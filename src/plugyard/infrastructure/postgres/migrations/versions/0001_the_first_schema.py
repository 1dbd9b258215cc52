"""The first schema: tenants, plugins, executions, the marketplace, the trail, and who may see what.

Before code.

Revision ID: 0001
"""

from pathlib import Path

from alembic import op
from psycopg import sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SCRIPTS = Path(__file__).parent.parent / "sql" / revision


def upgrade() -> None:
    """Runs the scripts in the order of their names; the grants only where the service has a role of its own."""
    config = op.get_context().config
    service = config.attributes["service_role"] if config is not None else None
    bind = op.get_bind().execution_options(no_parameters=True)
    for script in sorted(_SCRIPTS.glob("*.sql")):
        text = script.read_text(encoding="utf-8")
        if ":service" in text:
            if service is None:
                continue
            text = text.replace(":service", sql.Identifier(service).as_string())
        bind.exec_driver_sql(text)


def downgrade() -> None:
    """Takes everything away again."""
    op.execute("drop schema plugyard cascade")
