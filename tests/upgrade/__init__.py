"""A whole upgrade and a rollback under load, with older code out of a checkout of its own.

    git worktree add ../old COMMIT && (cd ../old && uv sync)
    uv run python -m tests.upgrade --old ../old

`checkouts.py` knows the two codes, `load.py` sends requests and keeps what was acknowledged, `rolling.py` replaces the
replicas and the worker, `audit.py` looks for everything afterwards, `__main__.py` prints what came of it.
"""
