"""What a container image is built and watched with: ``guests`` and ``healthy``."""

from typing import Annotated

from cyclopts import App, Parameter

from plugyard.cli.failure import Failure
from plugyard.cli.operator import DEFAULT_SETTINGS, refuse_unknown_settings
from plugyard.settings import Settings


def register(app: App) -> None:
    """Add the commands to the command line."""
    for command in (guests, healthy):
        app.command(command)


def guests(
    *,
    any_processor: Annotated[bool, Parameter(negative="", help="For every processor, as in an image.")] = False,
    settings: Settings = DEFAULT_SETTINGS,
) -> None:
    """Build the two guests now, so that a start builds nothing, and print where they are.

    For example:

    ```
    plugyard guests
    plugyard guests --any-processor --guests /opt/plugyard/guests
    ```
    """
    from plugyard.cli.running import StartProgress
    from plugyard.sandbox.outside.guests import GuestBuildError, build

    refuse_unknown_settings()
    progress = StartProgress()
    try:
        built = build(settings.guests, progress, any_processor=any_processor)
    except (GuestBuildError, OSError) as error:
        raise Failure(str(error)) from error
    finally:
        progress.close()
    for path in built.artefacts.values():
        print(path)


def healthy(*, settings: Settings = DEFAULT_SETTINGS) -> None:
    """Ask the service on this machine whether it lives; for a container's health check. Status 0 where it does.

    For example:

    ```
    plugyard healthy
    plugyard healthy --port 9000
    ```
    """
    import http.client

    # Whoever listens on every address listens on the loopback too.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(host, settings.port, timeout=2)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"nothing answers on {host} port {settings.port}: {error}") from error
    finally:
        connection.close()
    if status != 200:
        raise Failure(f"the service on {host} port {settings.port} answers {status}")
