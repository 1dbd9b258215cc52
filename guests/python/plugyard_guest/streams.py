"""What a plugin prints becomes log lines: standard output as info, standard error as warnings."""

import io
import sys

from wit_world.imports import host

_LONGEST_LINE = 8192


class LogStream(io.TextIOBase):
    """A text stream that keeps whole lines and hands them to the platform."""

    def __init__(self, level: str) -> None:
        self._level = level
        self._held = ""

    @property
    def encoding(self) -> str:
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._held += text
        if "\n" in text or len(self._held) > _LONGEST_LINE:
            *lines, self._held = self._held.split("\n")
            for line in lines:
                host.log(self._level, line, "{}")
            while len(self._held) > _LONGEST_LINE:
                host.log(self._level, self._held[:_LONGEST_LINE], "{}")
                self._held = self._held[_LONGEST_LINE:]
        return len(text)

    def drain(self) -> None:
        """Hand over a last line that has no end."""
        if self._held:
            held, self._held = self._held, ""
            host.log(self._level, held, "{}")


_streams = (LogStream("info"), LogStream("warning"))


def install() -> None:
    """Put the streams in the place of the standard ones."""
    sys.stdin = io.StringIO("")
    sys.stdout, sys.stderr = _streams
    sys.__stdout__, sys.__stderr__ = _streams


def flush() -> None:
    """Hand over what is held; called at the end of each call."""
    for stream in _streams:
        stream.drain()
