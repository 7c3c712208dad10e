"""The process with ClearML's SDK, which executes the JSON lines of a `eno.tracking.clearml_experiment`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from clearml import Logger, OutputModel, Task
from clearml.config import config, running_remotely

from eno.tracking.experiment import INTERRUPTED

_KINDS = {
    "training": Task.TaskTypes.training,
    "tuning": Task.TaskTypes.optimizer,
    "comparison": Task.TaskTypes.qc,
    "evaluation": Task.TaskTypes.testing,
    "embeddings": Task.TaskTypes.data_processing,
    "serving": Task.TaskTypes.service,
}
_NOT_PACKED = ("evaluation", "checkpoint")


class _Model(OutputModel):
    """An output model that also works offline, where the SDK would ask the server for the model."""

    @property
    def published(self) -> bool:
        return False if Task.is_offline() else bool(super().published)


class _Session:
    """One task. Each public method executes one kind of message."""

    def __init__(self, answer: Callable[..., None]) -> None:
        self._answer = answer
        self._close_s = 60.0

    def start(
        self, *, project: str, name: str, kind: str, offline: bool, script: dict[str, str], close_s: float
    ) -> None:
        self._close_s = close_s
        # Report from threads: a forked process does not always end promptly.
        Task._report_subprocess_enabled = False  # type: ignore[assignment]
        if offline:
            Task.set_offline(True)
        self._task: Task = Task.init(
            project_name=project,
            task_name=name,
            task_type=_KINDS[kind],
            reuse_last_task_id=False,
            output_uri=config.get("development.default_output_uri", None) or True,
            auto_connect_arg_parser=False,
            # Do not read the current directory or its uncommitted changes.
            auto_connect_frameworks={"detect_repository": False},
            auto_resource_monitoring=False,
            auto_connect_streams=False,
        )
        self._logger: Logger = self._task.get_logger()
        if not running_remotely():
            self._task.update_task({"script": _script(script)})  # set_script fails if none is set yet
        if offline:
            self._session = f"{self._task.get_offline_mode_folder()}.zip"
        else:
            self._session = ""
            if not self._task.output_uri:  # for instance in tasks created by clearml-task
                self._task.output_uri = True
            self._answer(say=self._task.get_output_log_web_page())

    def connect(self, *, sections: dict[str, dict[str, str]], queue: str | None) -> None:
        changed: dict[str, dict[str, str]] = {}
        for section, values in sections.items():
            found = self._task.connect(dict(values), name=section)
            if running_remotely():
                other = {name: str(found[name]) for name, value in values.items() if str(found[name]) != value}
                changed |= {section: other} if other else {}
        if queue is not None and not running_remotely():
            self._task.execute_remotely(queue_name=queue)  # ends this process if it succeeds
        self._answer(changed=changed)

    def scalar(self, *, title: str, series: str, value: float, step: int) -> None:
        self._logger.report_scalar(title, series, value, step)

    def value(self, *, name: str, value: float) -> None:
        self._logger.report_single_value(name, value)

    def lines(self, *, title: str, curves: dict[str, list[list[Any]]], x: str, y: str, markers: bool) -> None:
        for name, points in curves.items():
            known = [point for point in zip(*points, strict=True) if None not in point]
            self._logger.report_scatter2d(
                title, name, iteration=0, scatter=known, xaxis=x, yaxis=y, mode="markers" if markers else "lines"
            )

    def matrix(self, *, title: str, values: list[list[float]], names: list[str], x: str, y: str) -> None:
        self._logger.report_confusion_matrix(
            title, "labels", iteration=0, matrix=np.array(values, float), xaxis=x, yaxis=y, xlabels=names,
            ylabels=names, yaxis_reversed=True,
        )  # fmt: skip

    def table(self, *, title: str, rows: list[list[Any]]) -> None:
        self._logger.report_table(title, title, iteration=0, table_plot=rows)

    def artifact(self, *, name: str, path: str) -> None:
        if Path(path).exists():
            self._task.upload_artifact(name, Path(path), auto_pickle=False, wait_on_upload=True)

    def describe(self, *, name: str, content: str) -> None:
        self._task.set_configuration_object(name, config_text=content, config_type="json")

    def tag(self, *, tags: list[str]) -> None:
        self._task.add_tags(tags)

    def model(
        self, *, name: str, folder: str, labels: list[str], fingerprint: str, tags: list[str], publish: bool
    ) -> None:
        model = _Model(
            task=self._task,
            name=name,
            label_enumeration={label: number for number, label in enumerate(labels)},
            tags=[*tags, fingerprint],
            comment=f"eno predictor on {fingerprint}",
            framework="Custom",
        )
        with tempfile.TemporaryDirectory() as temporary:
            archive = Path(temporary) / "predictor.zip"
            _pack(Path(folder), archive)
            model.update_weights(
                str(archive), auto_delete_file=False, target_filename=archive.name, is_package=True, async_enable=False
            )
        if not Task.is_offline():
            if publish:
                model.publish()
            self._answer(say=f"model {model.id}", model=model.id)

    def close(self, *, problem: str | None) -> None:
        self._task.flush(wait_for_uploads=True)
        if problem is not None and self._session:
            self._task.add_tags(["failed"])  # a session has no status
        self._task.close()  # marks it as completed
        if problem == INTERRUPTED and not self._session:
            self._task.mark_stopped(force=True, status_message="stopped by the user")
        elif problem is not None and not self._session:
            self._task.mark_failed(status_reason="failed", status_message=problem, force=True)
        if self._session:
            self._answer(say=f"session {self._session}; upload it with: eno tracking import {self._session}")


def _script(script: dict[str, str]) -> dict[str, Any]:
    return {
        "binary": "python",
        "repository": script.get("repository", ""),
        "branch": script.get("branch", ""),
        "version_num": script.get("commit", ""),
        "working_dir": script["working_dir"],
        "entry_point": script["entry_point"],
        "diff": script["code"],
        "requirements": {"pip": script["packages"]},
    }


def _pack(folder: Path, archive: Path) -> None:
    """Archive the files of a predictor, in a fixed order."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not path.name.startswith(".") and name.parts[0] not in _NOT_PACKED:
                packed.write(path, name.as_posix())


def _exit_after(seconds: float) -> None:
    """End the process after some time, even if the SDK blocks."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _execute(lines: TextIO, answer: Callable[..., None]) -> None:
    session = _Session(answer)
    ended = False
    for line in lines:
        message = json.loads(line)
        do = message.pop("do")
        ended = ended or do == "close"
        if ended:
            _exit_after(session._close_s + 10)
        try:
            getattr(session, do)(**message)
        except Exception as error:  # one failing message must not stop the run
            if do in ("start", "connect", "close"):
                answer(problem=f"{type(error).__name__}: {error}")
                _exit_after(10)
                raise
            answer(say=f"{do} {message.get('name') or message.get('title') or ''} was skipped: {error}")
        if ended:
            break
    if not ended:  # the run was killed
        _exit_after(session._close_s)
        session.close(problem="the run ended unexpectedly")


def main() -> None:
    """Execute the commands on standard input until it ends."""
    # Standard output is reserved for answers, but the SDK prints to it.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    _execute(sys.stdin, answer)
