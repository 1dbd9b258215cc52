"""What an operator runs: ``serve``, ``worker``, ``relay``, ``demo``, ``doctor``, ``migrate``, ``database prepare``."""

import difflib
import json
import os
import sys
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from plugyard import __version__
from plugyard.cli.failure import Failure
from plugyard.settings import CONFIG_FILE, ENVIRONMENT_PREFIX, Settings

DEFAULT_SETTINGS = Settings()


def register(app: App) -> None:
    """Add the operator's commands to the command line."""
    for command in (serve, worker, relay, demo, doctor, migrate):
        app.command(command)
    group = App(name="database", help="A PostgreSQL that somebody else runs: its databases and roles.")
    group.command(prepare)
    app.command(group)


def serve(*, settings: Settings = DEFAULT_SETTINGS) -> None:
    """Start the whole service: PostgreSQL, migrations, the sandbox, the HTTP server. Ctrl-C ends it.

    Every setting is also PLUGYARD_NAME in the environment, or a line name = value in plugyard.toml.

    For example:

    ```
    plugyard serve
    plugyard serve --port 9000 --data ./data
    PLUGYARD_LOG_FORMAT=json plugyard serve --host 0.0.0.0
    PLUGYARD_DATABASE_URL=... plugyard serve --profile production     # names what else is missing
    ```
    """
    import uvloop

    from plugyard.cli.running import run

    refuse_unknown_settings()
    raise SystemExit(uvloop.run(run(settings, welcome=_welcome)))


def worker(*, settings: Settings = DEFAULT_SETTINGS) -> None:
    """Take executions that wait in the queue, and nothing else. Ctrl-C ends it; as many may run as you like.

    A service does the same by itself, unless its queue_workers is 0. Probes and metrics are on --host and --port.

    For example:

    ```
    PLUGYARD_DATABASE_URL=... plugyard worker --data ~/.plugyard-worker --port 9200 --queue-workers 32
    ```
    """
    import uvloop

    from plugyard.cli.running import run

    refuse_unknown_settings()
    if settings.database_url is None:
        raise Failure("a worker shares a database with the service: name --database-url and its neighbours")
    if settings.queue_workers == 0:
        raise Failure("a worker without --queue-workers would take nothing")
    raise SystemExit(uvloop.run(run(settings, worker=True)))


def relay(*, settings: Settings = DEFAULT_SETTINGS) -> None:
    """Carry events from the outbox to Kafka, and nothing else. Ctrl-C ends it; as many may run as there are partitions.

    A service with a Kafka does the same by itself. This needs --database-url and --kafka-url; probes and metrics are
    on --host and --port. The address of the database holds a password, so give it as PLUGYARD_DATABASE_URL.

    For example:

    ```
    plugyard relay --kafka-url kafka-1:9092,kafka-2:9092 --port 9100
    ```
    """
    import uvloop

    from plugyard.cli.running import run_relay

    refuse_unknown_settings()
    raise SystemExit(uvloop.run(run_relay(settings)))


def demo(
    *,
    once: Annotated[bool, Parameter(negative="", help="End when the table is shown.")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print the table as JSON.")] = False,
    settings: Settings = DEFAULT_SETTINGS,
) -> None:
    """Run five example plugins on real input, and go on serving until Ctrl-C.

    Uses the service that runs on the data folder, or starts one.

    For example:

    ```
    plugyard demo
    plugyard demo --once --json
    ```
    """
    import uvloop

    from plugyard.cli.client import KEYS_FILE, Client, running_url
    from plugyard.cli.demo import show
    from plugyard.cli.running import run

    refuse_unknown_settings()
    examples = _examples()
    if examples is None:
        raise Failure("the example plugins are part of the source; run the demonstration in a clone of the project")
    if running_url(settings.data) is not None:
        hints = [
            *first_commands(settings.data),
            f"cat {settings.data / KEYS_FILE}        the admin key, for a first plugin by hand (README.md)",
        ]
        show(Client.find(None, settings.admin_key, settings.data), examples, hints, as_json=as_json)
        return
    # The table is what is to be read here, so the log tells of trouble alone unless more was asked for.
    quiet = replace(settings, log_level="warning") if settings.log_level == "info" else settings
    raise SystemExit(uvloop.run(run(quiet, client=_demo_client(settings, as_json), once=once)))


def doctor(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for a program to read.")] = False,
    settings: Settings = DEFAULT_SETTINGS,
) -> None:
    """Say what this machine gives the sandbox, and what is missing.

    For example:

    ```
    plugyard doctor
    plugyard doctor --json
    ```
    """
    from plugyard.cli.diagnosis import diagnose

    refuse_unknown_settings()
    checks = diagnose(settings)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{'ok ' if check.ok else 'NO '} {check.name:{width}}  {check.detail}")
            if check.remedy:
                print(f"    {'':{width}}  to get it: {check.remedy}")
    raise SystemExit(0 if all(check.ok or not check.needed for check in checks) else 1)


def migrate(
    *,
    phase: Annotated[
        Literal["before", "after"],
        Parameter(help="What runs before the new code is started, or after the old is gone."),
    ] = "before",
    settings: Settings = DEFAULT_SETTINGS,
) -> None:
    """Bring the schema of a PostgreSQL that somebody else runs to the version of this code.

    Run the phase before, then start replicas of the new version; those of the version before go on meanwhile. Run the
    phase after when the last of those has ended. Several at once wait for each other.

    For example:

    ```
    PLUGYARD_DATABASE_URL=... PLUGYARD_DATABASE_OWNER_URL=... plugyard migrate
    PLUGYARD_DATABASE_URL=... PLUGYARD_DATABASE_OWNER_URL=... plugyard migrate --phase after
    ```
    """
    import asyncio

    from plugyard.bootstrap.databases import migrate_external
    from plugyard.bootstrap.keys import CannotStart
    from plugyard.domain.errors import PlugyardError

    refuse_unknown_settings()
    try:
        print(asyncio.run(migrate_external(settings, phase)))
    except (CannotStart, PlugyardError) as error:
        raise Failure(str(error)) from error


def prepare(
    *,
    superuser_url: Annotated[str, Parameter(help="URL of the server with a role that may make roles and databases.")],
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for a program to read.")] = False,
) -> None:
    """Make the two databases and the three roles that a PostgreSQL needs, with new passwords, and show their URLs once.

    Run again, it completes what is missing and gives the roles new passwords.

    For example:

    ```
    plugyard database prepare --superuser-url postgresql://postgres:secret@db.example.com/postgres
    ```
    """
    import asyncio

    from plugyard.bootstrap.databases import prepare_external
    from plugyard.bootstrap.keys import CannotStart

    try:
        made = asyncio.run(prepare_external(superuser_url))
    except CannotStart as error:
        raise Failure(str(error)) from error
    if as_json:
        print(json.dumps(made, indent=2))
        return
    print("Shown this once; keep them where your secrets are:\n")
    for name, value in made.items():
        print(f"{name}={value}")
    print("\nNext: plugyard migrate, with these in the environment.")


def _demo_client(settings: Settings, as_json: bool) -> list[str]:
    # A process of its own, so that it measures as any caller would and does not share the server's interpreter.
    command = [sys.executable, "-m", "plugyard.cli", "demo", "--data", str(settings.data)]
    return [*command, "--json"] if as_json else command


def _examples() -> Path | None:
    folder = Path(__file__).resolve().parents[3] / "examples"
    return folder if folder.is_dir() else None


def _welcome(url: str, admin_key: str, data: Path, took_s: float) -> str:
    make, upload, execute = first_commands(data)
    return f"""
Plugyard {__version__} is ready after {took_s:.1f} s.

  URL        {url}        API reference: {url}/docs
  Admin key  {admin_key}
  Data       {data}

Three commands to try, in another terminal:

  {make}
  {upload}
  {execute}

Ctrl-C ends the service.
"""


def first_commands(data: Path) -> tuple[str, str, str]:
    """What makes, uploads and executes a first plugin on the service of this data folder."""
    own_data = "" if data == DEFAULT_SETTINGS.data else f" --data {data}"
    run = "uv run plugyard" if os.environ.get("UV") else "plugyard"
    return (
        f"{run} new hello",
        f"{run} upload hello --activate{own_data}",
        f'{run} execute hello greet --input \'{{"name": "Ada"}}\'{own_data}',
    )


def refuse_unknown_settings() -> None:
    """Fail on a line of ``plugyard.toml`` that is no setting: a misspelt limit would be a limit that is not there.

    And on a variable of the environment that is nearly one; others may be somebody else's.
    """
    known = [field.name for field in fields(Settings)]
    for variable in os.environ:
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if variable.startswith(ENVIRONMENT_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.85)
            if near:
                raise Failure(f"{variable} is no setting; did you mean {ENVIRONMENT_PREFIX}{near[0].upper()}?")
    try:
        lines = tomllib.loads(Path(CONFIG_FILE).read_text())
    except FileNotFoundError:
        return
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Failure(f"{CONFIG_FILE} cannot be read: {error}") from error
    for name in lines:
        if name.replace("-", "_") not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]}?" if near else "; docs/settings.md lists them all"
            raise Failure(f"{CONFIG_FILE} has {name!r}, which is no setting{meant}")
