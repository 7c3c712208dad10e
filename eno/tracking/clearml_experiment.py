"""ClearML as a tracker, in a process of its own.

The SDK hooks into forks, signals, exceptions and the exit of the process that imports it, and can wait for minutes for
a server that does not answer. Here it does so in `eno.tracking.clearml_worker`: a run only writes lines into a pipe,
through a queue that never blocks, and at the end waits for no longer than it is told to.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

import eno
from eno.errors import ConfigError, TrackingError
from eno.tracking.clearml_environment import configured, offline_by_environment, on_worker
from eno.tracking.experiment import Command, Curve, RegisteredModel, Sections, Tracking
from eno.tracking.source import script_of

_ROOT = Path(eno.__file__).parents[1]
_WAITING = 100_000  # messages; what comes on top is dropped, and counted
_ANSWER_S = 300.0  # for a worker to learn its settings, or to put a run into a queue

# The SDK takes pandas for tables where it finds it, which doubles the time and memory to start; it gets lists here.
_PROGRAM = "import sys; sys.modules['pandas'] = None; from eno.tracking.clearml_worker import main; main()"

_ADVICE = (
    "not tracked: ClearML is not configured. clearml-init configures it; --tracking offline keeps a session to import "
    "later; --tracking off says no more of it"
)


def open_clearml(tracking: Tracking, command: Command, *, say: Callable[[str], None]) -> ClearMLExperiment | None:
    """See `eno.tracking.experiment.open_experiment`; None where that gives a `NoExperiment`."""
    offline = tracking.mode == "offline" or (tracking.mode == "auto" and offline_by_environment() and not on_worker())
    if tracking.queue is not None and (offline or tracking.mode == "off" or not configured()):
        raise ConfigError(f"--queue {tracking.queue} needs a ClearML server, online: clearml-init configures it.")
    if not offline and not configured():
        if tracking.mode == "online":
            raise ConfigError(
                "ClearML is not configured. Run clearml-init, or set CLEARML_API_HOST, "
                "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY."
            )
        say(_ADVICE)
        return None
    try:
        return ClearMLExperiment(tracking, command, offline=offline, say=say)
    except OSError as error:
        if tracking.queue is not None or on_worker():
            raise TrackingError(f"The process for tracking cannot be started ({error}).") from error
        say(f"not tracked: the process for tracking cannot be started ({error})")
        return None


class ClearMLExperiment:
    """A ClearML task; see `eno.tracking.experiment.Experiment`.

    Parameters
    ----------
    tracking : Tracking
        Names, queue, and how long to wait at the end.
    command : Command
        What is run.
    offline : bool
        Write a session to import later instead of talking to a server.
    say : callable
        Takes lines for the user.

    Attributes
    ----------
    models : list of str
        Ids of the models that the server has registered so far.
    """

    def __init__(self, tracking: Tracking, command: Command, *, offline: bool, say: Callable[[str], None]) -> None:
        self._say, self._close_s, self._queue = say, tracking.close_s, tracking.queue
        self.models: list[str] = []
        self._waits = on_worker() or (tracking.queue is not None)
        self._dropped, self._failed, self._ended = 0, False, threading.Event()
        self._messages: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process that writes into it)
        self._process = _start(self._log, offline=offline)
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._write, self._read)]
        for thread in self._threads:
            thread.start()
        self._send(
            "start",
            project=tracking.project or f"eno/{command.kind}",
            name=tracking.name or command.name,
            kind=command.kind,
            offline=offline,
            script=script_of(command.entry),
            close_s=tracking.close_s,
        )

    def connect(self, sections: Sections) -> dict[str, dict[str, str]]:
        """Show settings; see `eno.tracking.experiment.Experiment.connect`.

        Raises
        ------
        TrackingError
            A worker cannot learn what to run, or a run cannot be put into the queue.
        """
        shown = {
            section: {name: _as_text(value) for name, value in values.items()} for section, values in sections.items()
        }
        self._send("connect", sections=shown, queue=self._queue)
        if not self._waits:
            return {}
        try:
            answer = self._answers.get(timeout=_ANSWER_S)
        except queue.Empty:
            answer = {"problem": f"no answer for {_ANSWER_S:.0f} s"}
        if "problem" in answer:
            self._kill()
            raise TrackingError(
                f"ClearML does not say what to run, or does not take it: {answer['problem']}. "
                "Is the server up, and is there such a queue?"
            )
        return cast("dict[str, dict[str, str]]", answer["changed"])

    @property
    def queued(self) -> bool:
        """Whether the run now waits in a queue, so that nothing is left to do here."""
        return self._queue is not None and not on_worker()

    def scalar(self, title: str, series: str, value: float, step: int) -> None:
        """See `eno.tracking.experiment.Experiment.scalar`."""
        if math.isfinite(value):
            self._send("scalar", title=title, series=series, value=float(value), step=step)

    def value(self, name: str, value: float | None) -> None:
        """See `eno.tracking.experiment.Experiment.value`."""
        if value is not None and math.isfinite(value):
            self._send("value", name=name, value=float(value))

    def lines(self, title: str, curves: Mapping[str, Curve], *, x: str, y: str, markers: bool = False) -> None:
        """See `eno.tracking.experiment.Experiment.lines`."""
        points = {name: [_floats(values) for values in curve] for name, curve in curves.items()}
        self._send("lines", title=title, curves=points, x=x, y=y, markers=markers)

    def matrix(self, title: str, values: Sequence[Sequence[float]], names: Sequence[str], *, x: str, y: str) -> None:
        """See `eno.tracking.experiment.Experiment.matrix`."""
        self._send("matrix", title=title, values=[_floats(row) for row in values], names=list(names), x=x, y=y)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See `eno.tracking.experiment.Experiment.table`."""
        self._send("table", title=title, rows=[list(columns), *([_cell(value) for value in row] for row in rows)])

    def artifact(self, name: str, path: Path) -> None:
        """See `eno.tracking.experiment.Experiment.artifact`."""
        if path.exists():
            self._send("artifact", name=name, path=str(path.absolute()))

    def describe(self, name: str, content: Mapping[str, Any]) -> None:
        """See `eno.tracking.experiment.Experiment.describe`."""
        self._send("describe", name=name, content=json.dumps(content, indent=2, default=str, ensure_ascii=False))

    def tag(self, *tags: str) -> None:
        """See `eno.tracking.experiment.Experiment.tag`."""
        self._send("tag", tags=tags)

    def model(self, model: RegisteredModel) -> None:
        """See `eno.tracking.experiment.Experiment.model`."""
        self._send("model", **asdict(model) | {"folder": str(model.folder.absolute())})

    def close(self, problem: str | None = None) -> None:
        """End the run, and wait for what is still to be sent, for `Tracking.close_s` at most."""
        if self._ended.is_set():
            return
        self._ended.set()
        until = time.monotonic() + self._close_s
        for message in (json.dumps({"do": "close", "problem": problem}), None):
            with contextlib.suppress(queue.Full):
                self._messages.put(message, timeout=max(0.0, until - time.monotonic()))
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            if not self._failed:
                self._say(
                    f"tracking: not all was sent within {self._close_s:g} s, and the rest is left out; what the run "
                    "made is complete. To wait longer: --set tracking.close_s=600"
                )
        finally:
            self._kill()
        if self._dropped:
            self._say(f"tracking: {self._dropped} messages were left out, since the server was too slow")

    def _send(self, do: str, **content: Any) -> None:
        try:
            self._messages.put_nowait(json.dumps({"do": do, **content}, default=_as_json))
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        """Feed the pipe; ends when it breaks, or after the last message."""
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while (message := self._messages.get()) is not None:
                pipe.write(message + "\n")
                pipe.flush()

    def _read(self) -> None:
        """Pass on what the other process says, until it ends."""
        pipe = self._process.stdout
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            for line in pipe:
                self._hear(json.loads(line))
        if self._ended.is_set():
            return
        if self.queued and self._process.wait() == 0:
            self._answers.put({"changed": {}})
        else:
            self._hear({"problem": self._last_words()})

    def _hear(self, answer: dict[str, Any]) -> None:
        if "say" in answer:
            self._say(f"tracking: {answer['say']}")
        if "model" in answer:
            self.models.append(answer["model"])
        if "changed" in answer:
            self._answers.put(answer)
        if "problem" in answer and not self._failed:
            self._failed = True
            self._answers.put(answer)
            if not self._waits:
                self._say(f"not tracked any more: {answer['problem']}")

    def _last_words(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "the process for tracking ended")

    def _kill(self) -> None:
        """Make sure that nothing is left of the other process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(queue.Full):
            self._messages.put_nowait(None)
        for thread in self._threads:
            thread.join(1.0)
        for file in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):  # what a killed process did not read any more
                file.close()  # type: ignore[union-attr]


def _start(log: Any, *, offline: bool) -> subprocess.Popen[str]:
    # A process that the SDK of another package in this one claims as its own would only report through that.
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
        start_new_session=True,  # Ctrl-C is for the run, which then ends this one
    )


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str | os.PathLike) else json.dumps(value, default=str)


def _as_json(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _floats(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
