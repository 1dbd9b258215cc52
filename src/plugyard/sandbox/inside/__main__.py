"""The zygote of environments: `python -m plugyard.sandbox.inside RUNTIME=ARTEFACT ... DESCRIPTOR`."""

import sys

from plugyard.sandbox.inside import components, environment, zygote


def main() -> None:
    """Map the guests and serve."""
    *artefacts, last = sys.argv[1:]
    paths = dict(argument.split("=", 1) for argument in artefacts)
    zygote.run(last, lambda: environment.prepare(paths) | components.prepare())


main()
