"""Plugyard: a multi-tenant plugin service. ARCHITECTURE.md is the map."""

__version__ = "1.0.0"
