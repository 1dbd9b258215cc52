"""What a platform team runs once, on its way from one machine to many: ``objects copy``."""

import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from plugyard.cli.failure import Failure
from plugyard.cli.operator import DEFAULT_SETTINGS, refuse_unknown_settings
from plugyard.cli.output import print_json, progress
from plugyard.settings import Settings


def register(app: App) -> None:
    """Add the command group to the command line."""
    group = App(name="objects", help="Packages and plugins' files, where they are stored.")
    group.command(copy)
    app.command(group)


def copy(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for a program to read.")] = False,
    settings: Settings = DEFAULT_SETTINGS,
) -> None:
    """Copy what the data folder holds of packages, bundles and plugins' files into the bucket that the settings name.

    What is there already stays. Run it while the service serves, and once more when it has ended.
    docs/production.md tells the whole way from one machine to many.

    For example:

    ```
    plugyard objects copy --data /var/lib/plugyard --objects-url s3://plugyard/production
    ```
    """
    import asyncio

    from plugyard.bootstrap.carrying import carry_objects
    from plugyard.bootstrap.keys import CannotStart

    refuse_unknown_settings()
    try:
        with progress("copying") as moved:
            done = asyncio.run(carry_objects(settings, moved))
    except CannotStart as error:
        raise Failure(str(error)) from error
    if as_json:
        print_json(asdict(done))
    else:
        size = done.bytes / 1_000_000
        print(f"{done.objects} objects of {size:,.1f} MB: {done.copied} copied, {len(done.failed)} failed")
        for key, why in sorted(done.failed.items()):
            print(f"  {key}: {why}", file=sys.stderr)
        if not done.failed:
            print("Next: give the replicas the pepper of this folder's keys.json, by which bundles are sealed.")
    if done.failed:
        raise SystemExit(1)
