"""Messages that C libraries print about damaged files; libsndfile cannot turn off those of libmpg123."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

STDERR = 2
_MESSAGE = re.compile(r"(?:\[src/libmpg123/[^]]*\] )?(error|note|warning): (.+)", re.IGNORECASE)
_ONLY_OF_MPG123 = re.compile(rb"\[src/libmpg123/|Note: |Warning: .*(?:Frankenstein|Xing)|\s*$")
_MAX_LENGTH = 160


def cause_in(printed: str) -> str:
    r"""Return the first message, which is most likely to name the cause; a warning only if there is nothing else.

    Examples
    --------
    >>> cause_in("Warning: Xing stream size off\nNote: Illegal Audio-MPEG-Header 0x00 at offset 9.\nNote: Skipped 5\n")
    'Illegal Audio-MPEG-Header 0x00 at offset 9'
    """
    found = [match.groups() for match in map(_MESSAGE.match, printed.splitlines()) if match]
    found.sort(key=lambda one: one[0].lower() == "warning")
    return found[0][1][:_MAX_LENGTH].strip().rstrip(".") if found else ""


class StderrFile:
    """Redirects the standard error of this process to an existing, empty file, which it removes where it can."""

    def __init__(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(descriptor, STDERR)
        os.close(descriptor)
        with suppress(OSError):  # not every system can remove open files
            os.unlink(path)

    def clear(self) -> None:
        """Discard what was printed."""
        os.ftruncate(STDERR, 0)

    def reported(self) -> str:
        """Return the cause that a decoder printed since `clear`, for a reason of failure."""
        cause = cause_in(os.pread(STDERR, 4096, 0).decode(errors="replace"))
        return f" (the decoder reported: {cause})" if cause else ""


@contextmanager
def decoder_messages_hidden() -> Iterator[None]:
    """Keep messages of libmpg123 off the terminal; for the main function of a program.

    File descriptor 2 is redirected to a temporary file, Python's standard error is not. Other lines in that file are
    printed at the end.
    """
    shown = os.dup(STDERR)
    before = sys.stderr
    if _writes_to(before, STDERR):
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


def _writes_to(stream: Any, descriptor: int) -> bool:
    try:
        return bool(stream.fileno() == descriptor)
    except (AttributeError, OSError, ValueError):  # not a file
        return False
