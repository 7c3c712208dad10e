"""One writer at a time."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eno.embeddings.store.folder import Folder
from eno.errors import StoreError
from eno.processes import boot_id, is_running

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = "writer.lock"
_UNFINISHED_S = 60  # an unreadable lock that is older was not finished, for instance on a full disk
_held: set[str] = set()  # when this process took the locks that it holds


class WriterLock:
    """Exclusive write access to a folder; a context manager, which raises StoreError if another process is writing.

    The lock is a file with its owner, which the owner also locks with the kernel where file system and platform allow
    it. The kernel's lock ends with the process and is seen from all containers of a machine, but on network shares not
    always from other machines, and object stores have none. So the lock of a dead process of this machine is taken
    over; that of another machine stays, since its process cannot be checked.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        since = datetime.now(UTC).isoformat(timespec="microseconds")
        self._owner: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        self._owner |= {"boot": boot_id(), "locked": False}

    def __enter__(self) -> WriterLock:
        for _ in range(3):
            if self._create() or self._take_over():
                _held.add(self._owner["since"])
                return self
            if self._folder.exists(LOCK_FILE):
                break
        raise StoreError(self._explain(self._read()))

    def __exit__(self, *_error: object) -> None:
        try:
            if self._read() == self._owner:  # else a user removed it
                self._folder.remove(LOCK_FILE)
        finally:
            _held.discard(self._owner["since"])
            self._close()

    def check(self) -> None:
        """Raise StoreError unless this process still has the lock; call it before writing."""
        if self._read() != self._owner:
            raise StoreError(
                f"{self._folder}: the {LOCK_FILE} of this run was removed or replaced, so another process may be "
                "writing. What was written so far is kept. Run the command again once the other process has ended."
            )

    def _create(self) -> bool:
        if self._folder.local is None:
            return self._folder.create(LOCK_FILE, json.dumps(self._owner).encode())
        with self._folder.explained("cannot be written to"):
            try:
                descriptor = os.open(self._path(), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                return False
            locked = _lock(descriptor)
            for _ in range(20):
                if locked is not False:
                    break
                time.sleep(0.05)  # another process has opened the new file to see whose it is
                locked = _lock(descriptor)
            return self._write(descriptor, locked)

    def _take_over(self) -> bool:
        """Take over the lock of a dead process; return False if it may be alive."""
        if self._folder.local is None:
            return not self._is_alive(self._read(), locked=False) and self._replace()
        with self._folder.explained("cannot be written to"):
            try:
                descriptor = os.open(self._path(), os.O_RDWR)
            except FileNotFoundError:
                return False
            except PermissionError:  # another user's
                return not self._is_alive(self._read(), locked=False) and self._replace()
            locked = _lock(descriptor)
            # Another process may have removed or replaced the file before it was locked here.
            current = locked is not False and self._is_current(descriptor)
            if not current or self._is_alive(self._read(), locked=bool(locked)):
                os.close(descriptor)
                return False
            return self._write(descriptor, locked)

    def _replace(self) -> bool:
        self._folder.remove(LOCK_FILE)
        return self._create()

    def _write(self, descriptor: int, locked: bool | None) -> bool:
        self._descriptor, self._owner["locked"] = descriptor, bool(locked)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(self._owner).encode())
            return self._is_current(descriptor)
        except BaseException:  # a full disk
            self._path().unlink(missing_ok=True)
            self._close()
            raise

    def _path(self) -> Path:
        assert self._folder.local is not None
        return self._folder.local / LOCK_FILE

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path().stat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_alive(self, owner: dict[str, Any] | None, *, locked: bool) -> bool:
        """Return whether the owner of a lock may be alive. `locked` says whether the kernel gave us its lock."""
        if owner is None:
            modified = (entry.mtime_ns / 1e9 for entry in self._folder.entries() if entry.name == LOCK_FILE)
            return abs(time.time() - next(modified, 0)) < _UNFINISHED_S  # later than now if the clock was set back
        if locked and owner["locked"] and owner["boot"] and owner["boot"] == boot_id():
            return False
        if owner["host"] != self._owner["host"]:
            return True
        if owner["boot"] and boot_id() and owner["boot"] != boot_id():
            return False  # the machine was restarted
        if owner["pid"] == os.getpid():
            return owner["since"] in _held
        return is_running(owner["pid"], datetime.fromisoformat(owner["since"]).timestamp())

    def _read(self) -> dict[str, Any] | None:
        try:
            owner = json.loads(self._folder.read(LOCK_FILE))
            datetime.fromisoformat(owner["since"])
            known = {"host": str(owner["host"]), "pid": int(owner["pid"]), "since": str(owner["since"])}
            return known | {"boot": owner.get("boot"), "locked": bool(owner.get("locked"))}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _explain(self, owner: dict[str, Any] | None) -> str:
        if owner is None:
            who = "an unknown process (the lock file cannot be read)"
        else:
            age = datetime.now(UTC) - datetime.fromisoformat(owner["since"])
            hours = max(0, age.total_seconds()) / 3600
            who = f"process {owner['pid']} on {owner['host']} since {owner['since'][:19]} UTC ({hours:.1f} hours)"
        return (
            f"{self._folder}: is being written by {who}. Wait until it has ended; if it is no longer running, "
            f"remove its {LOCK_FILE}."
        )


def _lock(descriptor: int) -> bool | None:
    """Lock a file with the kernel; return False if another process has locked it, None if that is not supported."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
