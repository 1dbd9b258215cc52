"""The store on PostgreSQL 16 or newer: migrations, statements, and the adapters of the application's ports.

`plugyard.bootstrap` runs `migrations.migrate` as the owner and then opens a `store.PostgresStore` and a
`recorder.PostgresRecorder` as the service's role, which row-level security binds.
"""
