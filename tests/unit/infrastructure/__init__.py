"""Adapters, where they can be tried without what they adapt."""
