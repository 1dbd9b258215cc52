"""The base of what answers look like; a resource with many views keeps them in a file of its own."""

import msgspec


class View(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The base of all views."""
