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
    """Keep a folder for oneself while writing into it.

    A file with the owner's name, not a lock of the operating system: network file systems and object stores keep to it
    too. One that a process of this machine left behind when it died is taken over; of other machines nobody can know.

    Parameters
    ----------
    folder : Folder
        The folder; ``writer.lock`` lies in it meanwhile.

    Raises
    ------
    StoreError
        On entering: somebody else is writing there, or the folder cannot be written to.
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
        if self._read() == self._owner:  # if not, somebody was told to remove it, and it is theirs now
            self._folder.remove(LOCK_FILE)

    def check(self) -> None:
        """Make sure that it is still one's own, before something is written.

        Raises
        ------
        StoreError
            It is not.
        """
        if self._read() != self._owner:
            raise StoreError(
                f"{self._folder}: this run's {LOCK_FILE} was removed or replaced meanwhile, so somebody else may be "
                "writing there. What was written so far stays; run it again once the other has ended."
            )

    def _read(self) -> dict[str, Any] | None:
        try:
            owner = json.loads(self._folder.read(LOCK_FILE))
            return {"host": str(owner["host"]), "pid": int(owner["pid"]), "since": str(owner["since"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _explain(self, owner: dict[str, Any] | None) -> str:
        if owner is None:
            who = "somebody whose name cannot be read"
        else:
            age = datetime.now(UTC) - datetime.fromisoformat(owner["since"])
            hours = age.total_seconds() / 3600
            who = f"process {owner['pid']} on {owner['host']} since {owner['since'][:19]} UTC ({hours:.1f} hours)"
        return f"{self._folder}: is being written by {who}. Wait for it to end; if it is dead, remove its {LOCK_FILE}."


def _is_running(pid: int) -> bool:
    if os.name != "posix":  # elsewhere the call below would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
