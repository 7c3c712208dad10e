"""Child processes that do not run the user's script again, and that end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import types
from collections.abc import Callable
from multiprocessing import connection, parent_process
from typing import Any

SPAWN = multiprocessing.get_context("spawn")
"""Processes are spawned, because a fork of a process that has threads may hang."""

_starting = threading.Lock()


def start_process(target: Callable[..., None], *arguments: Any, daemon: bool) -> tuple[Any, connection.Connection]:
    """Start ``target(pipe, *arguments)`` in a new process; return the process and our end of the pipe."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(theirs, *arguments), daemon=daemon)
    with _starting:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")  # spares the user ``if __name__ == "__main__"``
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
    theirs.close()  # so that the pipe ends with the process
    return process, ours


def end_with_parent(tick: Callable[[], None] = lambda: None, every_s: float | None = None) -> None:
    """Exit when the parent process does, even if a decoder hangs. Until then, call `tick` every so many seconds."""

    def watch() -> None:
        if (parent := parent_process()) is not None:
            while not connection.wait([parent.sentinel], timeout=every_s):
                tick()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
