"""The workers: procrastinate on the service's PostgreSQL, with what it does one by one done by the batch.

``jobs.py`` is its job manager, ``worker.py`` the life of one worker.
"""
