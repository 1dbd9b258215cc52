"""The HTTP side: what callers meet. Everything here turns requests into use cases, and what they say into answers."""
