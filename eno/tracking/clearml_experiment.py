"""Track runs with ClearML, whose SDK runs in a separate process.

The SDK hooks into forks, signals, exceptions and the exit of the process that imports it, and can block for minutes if
the server does not answer. The run therefore writes JSON lines to a pipe to `eno.tracking.clearml_worker`, through a
queue that never blocks, and at the end it waits no longer than `Tracking.close_s`.
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
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

from eno.errors import ConfigError, TrackingError
from eno.files import finite
from eno.tracking.clearml_environment import check_name, configured, offline_by_environment, on_worker
from eno.tracking.clearml_process import interrupt_run, start_process
from eno.tracking.console_copy import ConsoleCopy
from eno.tracking.experiment import Command, Curve, Experiment, RegisteredModel, Sections, Tracking
from eno.tracking.git_state import script_of, worker_obstacle

_QUEUE_SIZE = 100_000  # messages; further ones are dropped and counted
_ANSWER_TIMEOUT_S = 300.0  # for reading the settings on a worker, or for enqueueing a run
_GONE_S = 5.0  # to wait at the end for a server that does not answer
_CUT_OFF_S = 5.0  # for the tracking process to end the task after it was told not to wait for uploads

_COMPLETE = "The results on disk are complete."
_NOT_CONFIGURED = (
    "not tracked: ClearML is not configured. Run clearml-init to configure it, use --tracking offline to keep a "
    "session for later, or --tracking off to hide this message"
)


def open_clearml(tracking: Tracking, command: Command, *, say: Callable[[str], None]) -> ClearMLExperiment | None:
    """Start a ClearML task, see `eno.tracking.experiment.open_experiment`; None if tracking is not configured."""
    offline = tracking.mode == "offline" or (tracking.mode == "auto" and offline_by_environment() and not on_worker())
    if tracking.queue is not None and (offline or tracking.mode == "off" or not configured()):
        raise ConfigError(
            f"--clearml-queue {tracking.queue} needs a ClearML server and online tracking. "
            "Configure it with: clearml-init"
        )
    if not offline and not configured():
        if tracking.mode == "online":
            raise ConfigError(
                "ClearML is not configured. Run clearml-init, or set CLEARML_API_HOST, "
                "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY."
            )
        say(_NOT_CONFIGURED)
        return None
    for what, given in (("task", tracking.name), ("project", tracking.project)):
        if given is not None:
            check_name(what, given)
    obstacle = worker_obstacle(command.entry) if tracking.queue is not None and not on_worker() else None
    if obstacle is not None:
        raise ConfigError(f"--clearml-queue {tracking.queue}: a worker could not run this code. {obstacle}")
    try:
        return ClearMLExperiment(tracking, command, offline=offline, say=say)
    except OSError as error:
        if tracking.queue is not None or on_worker():
            raise TrackingError(f"The tracking process could not be started ({error}).") from error
        say(f"not tracked: the tracking process could not be started ({error})")
        return None


class ClearMLExperiment(Experiment):
    """A ClearML task, or with `offline` a session on disk to import later.

    `models` are the ids of the models registered so far.
    """

    def __init__(self, tracking: Tracking, command: Command, *, offline: bool, say: Callable[[str], None]) -> None:
        self._say, self._close_s, self._queue = say, tracking.close_s, tracking.queue
        self.models: list[str] = []
        self._waits = on_worker() or (tracking.queue is not None)
        self._dropped, self._failed, self._ended, self._gone = 0, False, threading.Event(), False
        self._messages: queue.Queue[str | None] = queue.Queue(_QUEUE_SIZE)
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process that writes to it)
        self._process = start_process(self._log, offline=offline)
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._write, self._read)]
        for thread in self._threads:
            thread.start()
        self._send(
            "start",
            project=tracking.project or f"eno/{command.kind}",
            name=tracking.name or command.name,
            kind=command.kind,
            offline=offline,
            queue=tracking.queue,
            script={} if on_worker() else script_of(command.entry),
            close_s=tracking.close_s,
        )
        # An agent logs what the run prints by itself.
        self._copy = None if self._waits else ConsoleCopy(lambda line: self._send("log", text=line))

    def connect(self, sections: Sections) -> dict[str, dict[str, str]]:
        """See `Experiment.connect`."""
        shown = {
            section: {name: as_text(value) for name, value in values.items()} for section, values in sections.items()
        }
        self._send("connect", sections=shown, queue=self._queue)
        if not self._waits:
            return {}
        try:
            answer = self._answers.get(timeout=_ANSWER_TIMEOUT_S)
        except queue.Empty:
            answer = {"problem": f"no answer for {_ANSWER_TIMEOUT_S:.0f} s"}
        if "problem" in answer:
            self._kill()
            raise TrackingError(
                f"ClearML did not return the settings, or did not accept the task: {answer['problem']}. "
                "Check that the server is running and that the queue exists."
            )
        return cast("dict[str, dict[str, str]]", answer["changed"])

    @property
    def queued(self) -> bool:
        """See `Experiment.queued`."""
        return self._queue is not None and not on_worker()

    def scalar(self, title: str, series: str, value: float, step: int) -> None:
        """See `Experiment.scalar`."""
        if math.isfinite(value):
            self._send("scalar", title=title, series=series, value=float(value), step=step)

    def value(self, name: str, value: float | None) -> None:
        """See `Experiment.value`."""
        if value is not None and math.isfinite(value):
            self._send("value", name=name, value=float(value))

    def lines(self, title: str, curves: Mapping[str, Curve], *, x: str, y: str, markers: bool = False) -> None:
        """See `Experiment.lines`."""
        points = {name: [_finite(values) for values in curve] for name, curve in curves.items()}
        self._send("lines", title=title, curves=points, x=x, y=y, markers=markers)

    def matrix(self, title: str, values: Sequence[Sequence[float]], names: Sequence[str], *, x: str, y: str) -> None:
        """See `Experiment.matrix`."""
        self._send("matrix", title=title, values=[_finite(row) for row in values], names=list(names), x=x, y=y)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See `Experiment.table`."""
        self._send("table", title=title, rows=[list(columns), *map(_finite, rows)])

    def artifact(self, name: str, path: Path) -> None:
        """See `Experiment.artifact`."""
        if path.exists():
            self._send("artifact", name=name, path=str(path.absolute()))

    def describe(self, name: str, content: Mapping[str, Any]) -> None:
        """See `Experiment.describe`."""
        self._send("describe", name=name, content=json.dumps(content, indent=2, default=str, ensure_ascii=False))

    def tag(self, *tags: str) -> None:
        """See `Experiment.tag`."""
        self._send("tag", tags=tags)

    def model(self, model: RegisteredModel) -> None:
        """See `Experiment.model`."""
        self._send("model", **asdict(model) | {"folder": str(model.folder.absolute())})

    def input_model(self, tag: str) -> None:
        """See `Experiment.input_model`."""
        self._send("input_model", tag=tag)

    def close(self, problem: str | None = None) -> None:
        """End the run and wait for pending messages, for at most `Tracking.close_s`."""
        if self._ended.is_set():
            return
        error = sys.exception()
        if problem is not None and isinstance(error, Exception):
            self._send("log", text="".join(traceback.format_exception(error)))
        if self._copy is not None:
            self._copy.close()
        self._ended.set()
        try:
            if not self._finished(problem) and not self._failed:
                why = "the server does not answer" if self._gone else f"it did not finish within {self._close_s:g} s"
                more = "" if self._gone else " To wait longer: --set tracking.close_s=600"
                self._say(f"tracking: the upload was cut off, because {why}. {_COMPLETE}{more}")
        except KeyboardInterrupt:
            self._say(f"tracking: the upload was cut off. {_COMPLETE}")
            raise
        finally:
            self._kill()
        if self._dropped:
            self._say(f"tracking: {self._dropped} messages were dropped because the server was too slow")

    def _finished(self, problem: str | None) -> bool:
        """Wait for the tracking process; return False if it takes too long."""
        began = time.monotonic()
        left = [json.dumps({"do": "close", "problem": problem}), None]
        gone_at = began
        while (now := time.monotonic()) < min(began + self._close_s, gone_at + _GONE_S) and not self._failed:
            gone_at = gone_at if self._gone else now
            with contextlib.suppress(queue.Full):
                while left:
                    self._messages.put_nowait(left[0])
                    left.pop(0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
                return True
        return False

    def _send(self, do: str, **content: Any) -> None:
        try:
            self._messages.put_nowait(json.dumps({"do": do, **content}, default=_as_json))
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while (message := self._messages.get()) is not None:
                pipe.write(message + "\n")
                pipe.flush()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            for line in pipe:
                self._handle(json.loads(line))
        if self._ended.is_set():
            return
        if self.queued and self._process.wait() == 0:
            self._say(f"queued: a worker of the queue {self._queue} will run it")
            self._answers.put({"changed": {}})
        else:
            self._handle({"problem": self._last_log_line()})

    def _handle(self, answer: dict[str, Any]) -> None:
        if "say" in answer:
            self._say(f"tracking: {answer['say']}")
        if "model" in answer:
            self.models.append(answer["model"])
        if "server" in answer:
            self._take_server_problem(answer["server"])
        if "abort" in answer and not self._ended.is_set():
            self._say("tracking: the task was aborted in ClearML; stopping the run")
            interrupt_run()
        if "changed" in answer:
            self._answers.put(answer)
        if "problem" in answer and not self._failed:
            self._failed = True
            self._answers.put(answer)
            if not self._waits:
                self._say(f"tracking stopped: {answer['problem']}")

    def _take_server_problem(self, problem: str | None) -> None:
        self._gone = problem is not None
        if problem is None:
            self._say("tracking: the ClearML server answers again")
        elif self.queued:
            self._handle({"problem": f"the server does not answer ({problem})"})
        else:
            self._say(
                f"tracking: the ClearML server does not answer ({problem}). The run goes on; what it reports is sent "
                "when the server answers again."
            )

    def _last_log_line(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "the tracking process ended")

    def _kill(self) -> None:
        try:
            if self._process.poll() is None and not self._gone:
                self._process.terminate()  # it marks the task as ended
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_CUT_OFF_S)
        finally:
            if self._process.poll() is None:
                self._process.kill()
        self._process.wait()
        with contextlib.suppress(queue.Full):
            self._messages.put_nowait(None)
        for thread in self._threads:
            thread.join(1.0)
        for file in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):  # buffered data that a killed process cannot read
                file.close()  # type: ignore[union-attr]


def as_text(value: Any) -> str:
    """Format a setting for ClearML: None as an empty string, structures as JSON."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str | os.PathLike) else json.dumps(value, default=str)


def _as_json(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _finite(values: Sequence[Any] | np.ndarray) -> list[Any]:
    listed: list[Any] = finite(values.tolist() if isinstance(values, np.ndarray) else list(values))
    return listed
