"""The gate's zygote: loads the check once and forks one jailed process for each package.

Started by ``plugyard.gate.jailed`` as ``python -I -m plugyard.gate.inside <descriptor>``, with an empty environment.
"""

import sys
from collections.abc import Mapping

from plugyard.sandbox.inside import zygote


def prepare() -> Mapping[str, zygote.Role]:
    """Load the check."""
    # Not before the zygote asks for it: it may go on in another process than the one that was started.
    from plugyard.gate.inside import inspector

    return inspector.prepare()


if __name__ == "__main__":
    zygote.run(sys.argv[-1], prepare)
