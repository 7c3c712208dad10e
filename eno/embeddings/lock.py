"""One writer at a time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eno.errors import StoreError

LOCK_FILE = "writer.lock"


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Keep a folder for oneself while writing into it.

    A file with the owner's name, not a lock of the operating system: network file systems keep to it too. One that a
    process of this machine left behind when it died is taken over; of other machines nobody can know.

    Parameters
    ----------
    folder : Path
        The folder; ``writer.lock`` lies in it meanwhile.

    Raises
    ------
    StoreError
        Somebody else is writing there, or the folder cannot be written to.
    """
    path = folder / LOCK_FILE
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    _take(path, owner)
    try:
        yield
    finally:
        if _read(path) == owner:  # if not, somebody was told to remove it, and it is theirs now
            path.unlink(missing_ok=True)


def _take(path: Path, owner: dict[str, Any]) -> None:
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            other = _read(path)
            if other and other["host"] == owner["host"] and not _is_running(other["pid"]):
                path.unlink(missing_ok=True)
                continue
            raise StoreError(_explain(path, other)) from None
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot be written to ({error.strerror}).") from error
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(owner, file)
        return
    raise StoreError(_explain(path, _read(path)))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return {"host": str(owner["host"]), "pid": int(owner["pid"]), "since": str(owner["since"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


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


def _explain(path: Path, owner: dict[str, Any] | None) -> str:
    if owner is None:
        who = "somebody whose name cannot be read"
    else:
        age = datetime.now(UTC) - datetime.fromisoformat(owner["since"])
        hours = age.total_seconds() / 3600
        who = f"process {owner['pid']} on {owner['host']} since {owner['since']} ({hours:.1f} hours)"
    return f"{path.parent}: is being written by {who}. Wait for it to end; if that run is dead, remove {path}."
