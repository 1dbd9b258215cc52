"""What can go wrong with the embedded server; the command line shows these messages to a person as they are.

EmbeddedPostgresError
├── DataFolderInUseError
└── EmbeddedPostgresFailedError
"""


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL could not be started."""


class DataFolderInUseError(EmbeddedPostgresError):
    """Another service is running on the same data folder."""


class EmbeddedPostgresFailedError(EmbeddedPostgresError):
    """PostgreSQL's own programs ended with an error; the message carries the end of their output."""
