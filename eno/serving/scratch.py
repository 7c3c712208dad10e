"""A folder for uploads that goes with its process: at the end, or when the next one starts after a crash."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_PREFIX, _LOCK = "eno-serve-", "lock"


class Scratch:
    """A folder among the temporary ones. What services left there that did not live to clean up is removed.

    Attributes
    ----------
    folder : Path
        Where uploads lie while they are needed.
    """

    def __init__(self) -> None:
        for left in _left_behind():
            shutil.rmtree(left, ignore_errors=True)
        self._place = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = (self._place / _LOCK).open("wb")
        _take(self._lock)
        self.folder = self._place / "uploads"
        self.folder.mkdir()

    def remove(self) -> None:
        """Remove the folder with all in it."""
        self._lock.close()
        shutil.rmtree(self._place, ignore_errors=True)


def _left_behind() -> Iterator[Path]:
    """Folders whose lock nobody holds. A lock of the operating system ends with its process, however that ends."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (place / _LOCK).open("rb+") as lock:
            if _take(lock):
                yield place


def _take(lock: IO[bytes]) -> bool:
    try:
        import fcntl  # not on every system; there nothing is taken for left behind
    except ImportError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
