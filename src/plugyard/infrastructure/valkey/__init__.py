"""What replicas share by a Valkey or Redis server: counts of rate limits and quotas, and the plugins' cache.

``bootstrap/sharing.py`` makes it where ``cache_url`` is set. ``link`` holds the connections and knows whether the
server is there; the other modules ask it and say what holds while it is not (docs/degradation.md).
"""
