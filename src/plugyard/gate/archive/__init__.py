"""Reads ZIP and TAR.GZ byte by byte, believing neither headers nor names. ``open_archive.read`` is the way in."""
