"""What runs in the service: the pool, the broker and the executor, and the client that speaks to zygotes."""
