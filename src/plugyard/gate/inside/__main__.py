"""The gate's zygote: loads the check once and forks one jailed process for each package.

Started by ``plugyard.gate.jailed`` as ``python -I -m plugyard.gate.inside <descriptor>``, with an empty environment.
"""

import sys

from plugyard.gate.inside.inspector import prepare
from plugyard.sandbox.inside import zygote

if __name__ == "__main__":
    zygote.run(sys.argv[-1], prepare)
