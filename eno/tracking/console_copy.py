"""Copies what a run prints, for its log in the tracker."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from typing import Any

_CONTROL = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")
_MAX_LINE = 10_000


class ConsoleCopy:
    """Passes each complete line on standard output and standard error to `take`, until `close`.

    Lines are passed as they would be seen in the end: without control codes, and without what was overwritten, as a
    progress bar is.
    """

    def __init__(self, take: Callable[[str], None]) -> None:
        self._before = sys.stdout, sys.stderr
        self._copies = _Stream(sys.stdout, take), _Stream(sys.stderr, take)
        sys.stdout, sys.stderr = self._copies

    def close(self) -> None:
        """Stop copying."""
        for copy in self._copies:
            copy.take = None
        if sys.stdout is self._copies[0]:  # otherwise somebody else has replaced it since, and will restore it
            sys.stdout = self._before[0]
        if sys.stderr is self._copies[1]:
            sys.stderr = self._before[1]


class _Stream:
    def __init__(self, stream: Any, take: Callable[[str], None]) -> None:
        self._stream, self._line, self._lock = stream, "", threading.Lock()
        self.take: Callable[[str], None] | None = take

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def write(self, text: str) -> int:
        written: int = self._stream.write(text)
        with self._lock:
            *lines, rest = (self._line + text).split("\n")
            self._line = _visible(rest)
        for line in lines:
            shown = _CONTROL.sub("", _visible(line).rstrip("\r"))
            if self.take is not None and shown.strip():
                self.take(shown)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


def _visible(line: str) -> str:
    """Return what is left of a line whose beginning was overwritten after carriage returns."""
    return line[line.rstrip("\r").rfind("\r") + 1 :][:_MAX_LINE]
