"""The process with ClearML's SDK, which executes the JSON lines of a `eno.tracking.clearml_experiment`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from queue import Queue
from typing import Any, TextIO

from eno.tracking.clearml_session import Session

_QUEUE_SIZE = 1000  # messages; further ones stay with the run
_CUT_OFF_S = 4.0


def _exit_after(seconds: float) -> None:
    """End the process after some time, even if the SDK blocks."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _execute(lines: TextIO, answer: Callable[..., None]) -> None:
    session = Session(answer)
    messages: Queue[dict[str, Any]] = Queue(_QUEUE_SIZE)
    threading.Thread(target=_read, args=(lines, messages), daemon=True).start()
    while (message := messages.get())["do"] != "close":
        do = message.pop("do")
        try:
            getattr(session, do)(**message)
        except Exception as error:  # one failing message must not stop the run
            if do in ("start", "connect"):
                answer(problem=f"{type(error).__name__}: {error}")
                _exit_after(10)
                raise
            if not session.aborted:  # the server does not accept everything for a task that has ended
                answer(say=f"{do} {message.get('name') or message.get('title') or ''} was skipped: {error}")
        if do == "start":  # the SDK has set a handler of its own
            signal.signal(
                signal.SIGTERM, lambda *_: threading.Thread(target=_cut_off, args=(session, messages)).start()
            )
    session.ending = message
    _exit_after(session.close_s + 10)
    try:
        session.close(problem=message["problem"])
    except Exception as error:
        answer(problem=f"{type(error).__name__}: {error}")
        raise


def _read(lines: TextIO, messages: Queue[dict[str, Any]]) -> None:
    for line in lines:
        messages.put(json.loads(line))
    messages.put(
        {"do": "close", "problem": "the run ended unexpectedly"}
    )  # not after another one, as when it is killed


def _cut_off(session: Session, messages: Queue[dict[str, Any]]) -> None:
    """End the process and its task in spite of an upload that blocks the main thread."""
    _exit_after(_CUT_OFF_S)
    while session.ending is None:
        message = messages.get()
        session.ending = message if message["do"] == "close" else None
    session.cut_off(session.ending["problem"])
    os._exit(1)


def main() -> None:
    """Execute the commands on standard input until it ends."""
    # Standard output is reserved for answers, but the SDK prints to it.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    lock = threading.Lock()

    def answer(**content: Any) -> None:
        with lock:
            answers.write(json.dumps(content) + "\n")
            answers.flush()

    _execute(sys.stdin, answer)
