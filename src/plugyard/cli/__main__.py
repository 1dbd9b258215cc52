"""``python -m plugyard.cli`` is the command ``plugyard``; the demonstration starts its own client with it."""

from plugyard.cli import main

if __name__ == "__main__":
    main()
