"""What Alembic runs before the scripts. The connection, its transaction and its lock are those of `run.upgrade`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="plugyard",
    transactional_ddl=True,
)
context.run_migrations()
