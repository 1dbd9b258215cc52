"""Which modules an operator denies to the plugins of a tenant.

Before code.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; a tenant that is there is denied nothing."""
    op.execute("alter table plugyard.tenants add column modules_denied text[] not null default '{}'")


def downgrade() -> None:
    """Takes it away again."""
    op.execute("alter table plugyard.tenants drop column modules_denied")
