"""The command ``plugyard``: what an operator runs and what an author runs, from one entry point.

Each command imports what it needs when it is called, so that ``plugyard --help`` answers at once.
"""

import os
import sys

from cyclopts import App
from cyclopts.config import Env, Toml

from plugyard import __version__
from plugyard.settings import CONFIG_FILE, ENVIRONMENT_PREFIX

app = App(
    name="plugyard",
    version=__version__,
    help="Plugyard runs the code that the customers of a platform extend it with: checked, granted, jailed, recorded.",
    config=[
        Env(ENVIRONMENT_PREFIX, command=False),
        Toml(CONFIG_FILE, use_commands_as_keys=False, allow_unknown=True),
    ],
    help_format="markdown",
)


def main() -> None:
    """Run the command line; ends with status 0, 1 (it failed, and said why), 2 (the command makes no sense)."""
    from plugyard.cli import (
        author,
        consent,
        container,
        deadletters,
        keys,
        objects,
        operator,
        quarantine,
        secrets,
        signing,
        stack,
        tenants,
        trail,
        webhooks,
    )
    from plugyard.cli.failure import Failure

    operator.register(app)
    container.register(app)
    author.register(app)
    consent.register(app)
    trail.register(app)
    tenants.register(app)
    secrets.register(app)
    quarantine.register(app)
    keys.register(app)
    signing.register(app)
    deadletters.register(app)
    webhooks.register(app)
    objects.register(app)
    stack.register(app)
    try:
        app()
    except Failure as failure:
        print(f"plugyard: {failure}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        # Whoever read the output has enough of it; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
