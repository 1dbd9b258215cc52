"""How both ends of a connection to PostgreSQL find out that the other has gone without a word, as by a cut cable.

By itself the kernel asks after two hours, and waits a quarter of an hour for an answer to what was sent. Until then a
session of a host that is gone holds its locks: of rows, of what one replica does at a time, and of the replica's life.
"""

from typing import TypedDict


class Ends(TypedDict):
    """Parameters of libpq, in seconds and milliseconds as it has them."""

    keepalives_idle: int
    keepalives_interval: int
    keepalives_count: int
    tcp_user_timeout: int


SEEN_HERE: Ends = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": 5_000}
"""For `connect`: this end gives the connection up after five seconds."""

SEEN_THERE = " -c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 -c tcp_user_timeout=5000"
"""Behind the options of a session: the server ends it after five seconds, and its locks are free."""
