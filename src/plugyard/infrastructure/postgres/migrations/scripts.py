"""Runs the SQL scripts of a migration. Each version's file below `versions/` calls it."""

from pathlib import Path

from alembic import op
from psycopg import sql

_FOLDER = Path(__file__).parent / "sql"


def run_scripts(revision: str) -> None:
    """Runs the scripts of a revision in the order of their names.

    A script that names `:service` says what the service's role may do; where the owner serves it is left out.
    """
    config = op.get_context().config
    service = config.attributes["service_role"] if config is not None else None
    bind = op.get_bind().execution_options(no_parameters=True)
    for script in sorted((_FOLDER / revision).glob("*.sql")):
        text = script.read_text(encoding="utf-8")
        if ":service" in text:
            if service is None:
                continue
            text = text.replace(":service", sql.Identifier(service).as_string())
        bind.exec_driver_sql(text)


def earlier_function(revision: str, script: str, name: str) -> str:
    """The statement that puts a PL/pgSQL function back to what a script of an earlier revision made it."""
    text = (_FOLDER / revision / script).read_text(encoding="utf-8")
    text = text.replace("create or replace function", "create function")
    _, mark, rest = text.partition(f"create function plugyard.{name}(")
    if not mark:
        raise ValueError(f"{script} of {revision} makes no function {name}")
    body, end, _ = rest.partition("end $$;")
    return f"create or replace function plugyard.{name}({body}{end}"
