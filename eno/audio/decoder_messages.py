"""Messages that libmpg123 prints about damaged MP3 files; libsndfile has no switch to turn them off."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STDERR = 2
_MESSAGE = re.compile(r"(?:\[src/libmpg123/[^]]*\] )?(error|note|warning): (.+)", re.IGNORECASE)
_ONLY_OF_MPG123 = re.compile(rb"\[src/libmpg123/|Note: |Warning: .*(?:Frankenstein|Xing)|\s*$")
_MAX_LENGTH = 160


def cause_in(printed: str) -> str:
    r"""Return the first message, which is the most likely to name the cause; of warnings the first if nothing else.

    Examples
    --------
    >>> cause_in("Warning: Xing stream size off\nNote: Illegal Audio-MPEG-Header 0x00 at offset 9.\nNote: Skipped 5\n")
    'Illegal Audio-MPEG-Header 0x00 at offset 9'
    """
    found = [match.groups() for match in map(_MESSAGE.match, printed.splitlines()) if match]
    found.sort(key=lambda one: one[0].lower() == "warning")
    return found[0][1][:_MAX_LENGTH].strip().rstrip(".") if found else ""


@contextmanager
def decoder_messages_hidden() -> Iterator[None]:
    """Keep the messages off the terminal while a program runs; for its main function, not for libraries.

    File descriptor 2 leads to a temporary file, and Python's standard error to where descriptor 2 led before. Other
    lines that C libraries or child processes print are shown at the end.
    """
    shown = os.dup(STDERR)
    before = sys.stderr
    if _leads_to(before, STDERR):
        sys.stderr = os.fdopen(
            shown, "w", buffering=1, encoding=before.encoding, errors=before.errors, closefd=False
        )  # log handlers may write to it until the process ends
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown, STDERR)
            sys.stderr = before
            hidden.seek(0)
            for line in hidden:
                if not _ONLY_OF_MPG123.match(line):
                    os.write(STDERR, line)


def _leads_to(stream: Any, descriptor: int) -> bool:
    try:
        return bool(stream.fileno() == descriptor)
    except (AttributeError, OSError, ValueError):  # replaced by something that is not a file
        return False
