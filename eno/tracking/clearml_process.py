"""The tracking process: how it is started, and how it stops the run."""

from __future__ import annotations

import _thread
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from eno import version

_ROOT = Path(version.__file__).parents[1]

# The SDK imports pandas if it is installed, which doubles start-up time and memory. Tables are sent as lists instead.
_PROGRAM = "import sys; sys.modules['pandas'] = None; from eno.tracking.clearml_worker import main; main()"


def interrupt_run() -> None:
    """Do in the main thread what Ctrl-C does."""
    thread = threading.main_thread().ident or 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job of a script
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))
    elif hasattr(signal, "pthread_kill"):  # which also ends a call that blocks
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        _thread.interrupt_main()


def start_process(log: Any, *, offline: bool) -> subprocess.Popen[str]:
    """Start `eno.tracking.clearml_worker`, which writes what the SDK prints to the file `log`."""
    # If another package has loaded the SDK here, this variable would make the new process report to the same task.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_PROC_MASTER_ID")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    if offline:
        environment["CLEARML_OFFLINE_MODE"] = "1"
    else:
        environment = {name: value for name, value in environment.items() if not name.endswith("_OFFLINE_MODE")}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C must only reach the run, which then ends the new process
    )
