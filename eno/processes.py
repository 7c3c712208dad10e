"""Which processes of this machine are running, to tell the files of living processes from those of dead ones.

And what this process gives back to the system.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import socket
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


def is_running(pid: int, before_s: float | None = None) -> bool:
    """Return whether a process may be running; with `before_s`, one that had started by then (seconds since 1970)."""
    if os.name != "posix":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # a process of another user
        pass
    started = None if before_s is None else _started_s(pid)
    return started is None or before_s is None or started <= before_s + 2  # the kernel counts hundredths of seconds


@cache
def boot_id() -> str | None:
    """Return an id that changes when the machine starts, and is the same in all of its containers; None if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return None


@cache
def machine_key() -> str:
    """Return a hash of 8 hexadecimal digits for the machine, or the container, whose processes see each other."""
    processes = ""
    with suppress(OSError):
        processes = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {processes}".encode()).hexdigest()[:8]


def _started_s(pid: int) -> float | None:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2]
        boot = next(line for line in Path("/proc/stat").read_text("ascii").splitlines() if line.startswith("btime "))
        return int(boot.split()[1]) + int(after_name.split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, StopIteration, IndexError):
        return None


def give_back_memory() -> None:
    """Give the system back the free memory that Arrow and the C library (only glibc) keep for later."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
