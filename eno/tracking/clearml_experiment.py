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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

from eno import version
from eno.errors import ConfigError, TrackingError
from eno.tracking.clearml_environment import configured, offline_by_environment, on_worker
from eno.tracking.experiment import Command, Curve, Experiment, RegisteredModel, Sections, Tracking
from eno.tracking.git_state import script_of

_ROOT = Path(version.__file__).parents[1]
_QUEUE_SIZE = 100_000  # messages; further ones are dropped and counted
_ANSWER_TIMEOUT_S = 300.0  # for reading the settings on a worker, or for enqueueing a run

# The SDK imports pandas if it is installed, which doubles start-up time and memory. Tables are sent as lists instead.
_PROGRAM = "import sys; sys.modules['pandas'] = None; from eno.tracking.clearml_worker import main; main()"

_NOT_CONFIGURED = (
    "not tracked: ClearML is not configured. Run clearml-init to configure it, use --tracking offline to keep a "
    "session for later, or --tracking off to hide this message"
)


def open_clearml(tracking: Tracking, command: Command, *, say: Callable[[str], None]) -> ClearMLExperiment | None:
    """Start a ClearML task, see `eno.tracking.experiment.open_experiment`; None if tracking is not configured."""
    offline = tracking.mode == "offline" or (tracking.mode == "auto" and offline_by_environment() and not on_worker())
    if tracking.queue is not None and (offline or tracking.mode == "off" or not configured()):
        raise ConfigError(
            f"--queue {tracking.queue} needs a ClearML server and online tracking. Configure it with: clearml-init"
        )
    if not offline and not configured():
        if tracking.mode == "online":
            raise ConfigError(
                "ClearML is not configured. Run clearml-init, or set CLEARML_API_HOST, "
                "CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY."
            )
        say(_NOT_CONFIGURED)
        return None
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
        self._dropped, self._failed, self._ended = 0, False, threading.Event()
        self._messages: queue.Queue[str | None] = queue.Queue(_QUEUE_SIZE)
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process that writes to it)
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

    def close(self, problem: str | None = None) -> None:
        """End the run and wait for pending messages, for at most `Tracking.close_s`."""
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
                    f"tracking: the upload did not finish within {self._close_s:g} s and was cut off; the results on "
                    "disk are complete. To wait longer: --set tracking.close_s=600"
                )
        finally:
            self._kill()
        if self._dropped:
            self._say(f"tracking: {self._dropped} messages were dropped because the server was too slow")

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
            self._answers.put({"changed": {}})
        else:
            self._handle({"problem": self._last_log_line()})

    def _handle(self, answer: dict[str, Any]) -> None:
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
                self._say(f"tracking stopped: {answer['problem']}")

    def _last_log_line(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "the tracking process ended")

    def _kill(self) -> None:
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


def _start(log: Any, *, offline: bool) -> subprocess.Popen[str]:
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


def as_text(value: Any) -> str:
    """Format a setting for ClearML: None as an empty string, structures as JSON."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str | os.PathLike) else json.dumps(value, default=str)


def _as_json(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _finite(values: Sequence[Any] | np.ndarray) -> list[Any]:
    """Replace NaN and infinities, which JSON does not have, by None."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return [None if isinstance(value, float) and not math.isfinite(value) else value for value in listed]
