"""A PostgreSQL that somebody else runs, as the settings name it; and what ``plugyard migrate`` does to it."""

from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from plugyard.bootstrap.keys import CannotStart
from plugyard.infrastructure.embedded.credentials import Credentials
from plugyard.infrastructure.embedded.preparation import prepare_database
from plugyard.infrastructure.embedded.roles import DATABASE, KEEPER, OWNER, PLUGINS_DATABASE, SERVICE
from plugyard.infrastructure.postgres.external import ExternalPostgres, UnfitDatabase
from plugyard.infrastructure.postgres.migrations import HEAD, clean_up_after, migrate, revision_of
from plugyard.infrastructure.postgres.urls import Urls
from plugyard.settings import Settings


def external_postgres(settings: Settings) -> ExternalPostgres:
    """The databases of the settings; raises ``CannotStart`` where one of the two is missing."""
    if settings.database_url is None or settings.plugins_database_url is None:
        raise CannotStart(
            "--database-url and --plugins-database-url go together; `plugyard database prepare` makes both databases"
        )
    return ExternalPostgres(Urls(settings.database_owner_url, settings.database_url, settings.plugins_database_url))


async def looked_at(postgres: ExternalPostgres) -> Urls:
    """Where they are, once they were looked at; raises ``CannotStart`` with what is wrong."""
    try:
        return await postgres.start()
    except UnfitDatabase as error:
        raise CannotStart(str(error)) from error


async def prepare_external(superuser_url: str) -> dict[str, str]:
    """Make databases and roles; the three URLs by the names of their variables. Raises ``CannotStart``."""
    made = Credentials.made()
    names = (
        ("PLUGYARD_DATABASE_URL", SERVICE, made.service, DATABASE),
        ("PLUGYARD_PLUGINS_DATABASE_URL", KEEPER, made.keeper, PLUGINS_DATABASE),
        ("PLUGYARD_DATABASE_OWNER_URL", OWNER, made.owner, DATABASE),
    )
    try:
        await prepare_database(superuser_url, made)
        place = conninfo_to_dict(superuser_url)
    except psycopg.Error as error:
        raise CannotStart(f"--superuser-url: {str(error).strip()}") from error
    host, port = place.get("host", "localhost"), place.get("port", 5432)
    options = {name: value for name, value in place.items() if name.startswith("ssl")}
    query = f"?{urlencode(options)}" if options else ""
    return {
        name: f"postgresql://{role}:{quote(password, safe='')}@{host}:{port}/{database}{query}"
        for name, role, password, database in names
    }


async def migrate_urls(urls: Urls) -> None:
    """Bring the schema of databases that were just started to the version of this code."""
    if urls.owner_url is not None:
        await migrate(urls.owner_url, urls.service_role)


async def migrate_external(settings: Settings, phase: str) -> str:
    """Bring the schema to the version of this code, or take away what only older code needed; a sentence on it.

    Raises ``CannotStart``.
    """
    if settings.database_owner_url is None or settings.database_url is None:
        raise CannotStart("name --database-owner-url, which migrates, and --database-url, whose role gets its rights")
    urls = Urls(settings.database_owner_url, settings.database_url, settings.plugins_database_url or "")
    if phase == "after":
        taken = await clean_up_after(settings.database_owner_url)
        return f"Taken away: {', '.join(taken)}." if taken else "Nothing of older code is left."
    if await migrate(settings.database_owner_url, urls.service_role):
        return f"The schema is at revision {HEAD} now."
    current = await revision_of(settings.database_owner_url)
    if current != HEAD:
        return f"The schema is at revision {current}, of newer code than this ({HEAD}); it is left as it is."
    return f"The schema is at revision {HEAD}; nothing to do."
