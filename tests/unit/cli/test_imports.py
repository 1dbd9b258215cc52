"""What the command line loads before it knows which command it is given: a start of the service waits for it."""

import subprocess
import sys

PROGRAM = """
import contextlib, sys
from plugyard.cli import main
sys.argv = ["plugyard", "--version"]
with contextlib.suppress(SystemExit):
    main()
print([name for name in ("httpx", "psycopg", "starlette", "plugyard.bootstrap") if name in sys.modules])
"""


def test_a_command_loads_nothing_that_only_others_need() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
