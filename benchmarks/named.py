"""Runs the command line with one change: names under `bench.test` lead to loopback, as a name server would say.

    python -m benchmarks.named serve ...

`benchmarks.load` starts its service so, because plugins call hosts by name and a benchmark has no name server.
"""

import socket
from typing import Any

from plugyard.cli import main

_own = socket.getaddrinfo


def _named(host: Any, *arguments: Any, **more: Any) -> Any:
    return _own("127.0.0.1" if str(host).endswith(".bench.test") else host, *arguments, **more)


if __name__ == "__main__":
    socket.getaddrinfo = _named
    main()
