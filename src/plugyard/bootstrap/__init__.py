"""The only place where ports meet adapters: builds the embedded service out of its parts, starts and ends it.

``cli/running.py`` runs a ``Service`` in the foreground. ``service.py`` is light to import, so that PostgreSQL and the
zygotes start at once; what only this process needs (``assembly.py``, with the HTTP server and the store) loads while
they come up.
"""

from plugyard.bootstrap.keys import CannotStart
from plugyard.bootstrap.service import Service

__all__ = ["CannotStart", "Service"]
