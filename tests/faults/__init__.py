"""Parts of the real stack are killed under load, one after the other, and nothing that was acknowledged may be lost.

    uv run python -m tests.faults                  # every part; writes docs/reliability.md
    uv run python -m tests.faults valkey replica   # some of them, and writes nothing

`load.py` sends requests and keeps what was acknowledged, `audit.py` looks for it afterwards, `__main__.py` kills.
"""
