"""One writer at a time."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from typing import Any

from eno.embeddings.store.folder import Folder
from eno.errors import StoreError

LOCK_FILE = "writer.lock"


class WriterLock:
    """Exclusive write access to a folder; a context manager, which raises StoreError if another process is writing.

    The lock is a file with its owner, because operating system locks do not work on network file systems and object
    stores. A lock of a dead process of this machine is taken over; other machines' processes cannot be checked.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        since = datetime.now(UTC).isoformat(timespec="microseconds")
        self._owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}

    def __enter__(self) -> WriterLock:
        content = json.dumps(self._owner).encode()
        for _ in range(2):
            if self._folder.create(LOCK_FILE, content):
                return self
            other = self._read()
            if not other or other["host"] != self._owner["host"] or _is_running(other["pid"]):
                break
            self._folder.remove(LOCK_FILE)
        raise StoreError(self._explain(self._read()))

    def __exit__(self, *_error: object) -> None:
        if self._read() == self._owner:  # else a user removed it
            self._folder.remove(LOCK_FILE)

    def check(self) -> None:
        """Raise StoreError unless this process still has the lock; call it before writing."""
        if self._read() != self._owner:
            raise StoreError(
                f"{self._folder}: the {LOCK_FILE} of this run was removed or replaced, so another process may be "
                "writing. What was written so far is kept. Run the command again once the other process has ended."
            )

    def _read(self) -> dict[str, Any] | None:
        try:
            owner = json.loads(self._folder.read(LOCK_FILE))
            return {"host": str(owner["host"]), "pid": int(owner["pid"]), "since": str(owner["since"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _explain(self, owner: dict[str, Any] | None) -> str:
        if owner is None:
            who = "an unknown process (the lock file cannot be read)"
        else:
            age = datetime.now(UTC) - datetime.fromisoformat(owner["since"])
            hours = age.total_seconds() / 3600
            who = f"process {owner['pid']} on {owner['host']} since {owner['since'][:19]} UTC ({hours:.1f} hours)"
        return (
            f"{self._folder}: is being written by {who}. Wait until it has ended; if it is no longer running, "
            f"remove its {LOCK_FILE}."
        )


def _is_running(pid: int) -> bool:
    if os.name != "posix":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        pass
    return True
