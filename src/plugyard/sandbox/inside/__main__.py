"""The zygote of environments: `python -m plugyard.sandbox.inside RUNTIME=ARTEFACT ... DESCRIPTOR`."""

import sys
from collections.abc import Mapping

from plugyard.sandbox.inside import zygote


def prepare() -> Mapping[str, zygote.Role]:
    """Map the guests."""
    # Not before the zygote asks for it: it may go on in another process than the one that was started.
    from plugyard.sandbox.inside import components, environment

    paths = dict(argument.split("=", 1) for argument in sys.argv[1:-1])
    return environment.prepare(paths) | components.prepare()


zygote.run(sys.argv[-1], prepare)
