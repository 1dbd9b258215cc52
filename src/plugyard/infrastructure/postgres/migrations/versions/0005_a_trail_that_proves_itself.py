"""A trail whose entries are chained by hashes, and sealed secrets.

Before code.

Revision ID: 0005
"""

from alembic import op

from plugyard.infrastructure.postgres.migrations.scripts import run_scripts

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BACK = """
do $$
declare
  before text := plugyard.start_crossing();
begin
  if exists (select from plugyard.plugins where sealed_secrets is not null) then
    raise exception 'Secrets are sealed: without their columns they would be lost.';
  end if;
  perform plugyard.stop_crossing(before);
end $$;
alter table plugyard.plugins drop column sealed_secrets, drop column sealed_by;
drop index plugyard.plugins_unsealed;
drop trigger chained on plugyard.audit_log;
drop trigger only_added_to on plugyard.audit_log;
drop trigger never_emptied on plugyard.audit_log;
drop table plugyard.audit_links, plugyard.audit_heads;
drop function plugyard.chain_new_entry(), plugyard.chain_entry(plugyard.audit_log), plugyard.refuse_change(),
  plugyard.audit_line(plugyard.audit_log, bigint);
drop index plugyard.audit_log_by_actor, plugyard.audit_log_by_action, plugyard.audit_log_by_target;
alter table plugyard.audit_log add constraint audit_log_tenant_id_fkey
  foreign key (tenant_id) references plugyard.tenants (id) not valid;
"""


def upgrade() -> None:
    """Runs the scripts, which chain the entries that are there."""
    run_scripts(revision)


def downgrade() -> None:
    """Takes the chains away and keeps the entries; refused where secrets are sealed."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_BACK)
