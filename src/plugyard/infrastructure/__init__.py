"""Adapters: the implementations of the application's ports; only `plugyard.bootstrap` imports them."""
