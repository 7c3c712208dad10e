"""A ClearML task in the tracking process: what its messages do."""

# ruff: noqa: D102  (eno.tracking.experiment documents them)

from __future__ import annotations

import json
import re
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from clearml import Logger, OutputModel, Task
from clearml.backend_api.services import queues
from clearml.backend_interface.util import exact_match_regex
from clearml.config import config, running_remotely

from eno.registry import HEADS
from eno.tracking.clearml_environment import MIN_NAME
from eno.tracking.clearml_outcome import ABORTED, OUTCOME, set_input_model, set_status
from eno.tracking.clearml_server import ServerWatch

_KINDS = {
    "training": Task.TaskTypes.training,
    "tuning": Task.TaskTypes.optimizer,
    "comparison": Task.TaskTypes.qc,
    "evaluation": Task.TaskTypes.testing,
    "embeddings": Task.TaskTypes.data_processing,
    "serving": Task.TaskTypes.service,
}
# What eno.training.tracker_reports says about a result, besides the head.
_OWN_TAG = re.compile(r"split [0-9a-f]+|(train|val|test) split|\S+-[0-9a-f]{12}")
_ABORT_S = 600.0  # for a run to stop after its task was aborted
_NOT_PACKED = ("evaluation", "checkpoint")


class _Model(OutputModel):
    """An output model that also works offline, where the SDK would ask the server for the model."""

    @property
    def published(self) -> bool:
        return False if Task.is_offline() else bool(super().published)


class Session:
    """One task. Each public method executes one kind of message."""

    def __init__(self, answer: Callable[..., None]) -> None:
        self._answer = answer
        self.close_s = 60.0
        self.ending: dict[str, Any] | None = None  # the last message
        self._outcome: dict[str, Any] = {}  # of an offline session, for its import
        self._closed = threading.Event()
        self.aborted = False

    def start(
        self,
        *,
        project: str,
        name: str,
        kind: str,
        offline: bool,
        queue: str | None,
        script: dict[str, str],
        close_s: float,
    ) -> None:
        self.close_s = close_s
        # Report from threads: a forked process does not always end promptly.
        Task._report_subprocess_enabled = False  # type: ignore[assignment]
        if offline:
            Task.set_offline(True)
        else:
            ServerWatch(lambda problem: self._answer(server=problem))
        if queue is not None and not running_remotely():
            _check_queue(queue)
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
        if running_remotely():
            self._remove_former_tags()
        else:
            self._task.update_task({"script": _script(script)})  # set_script fails if none is set yet
        if offline:
            self._session = f"{self._task.get_offline_mode_folder()}.zip"
            return
        self._session = ""
        if not self._task.output_uri:  # for instance in tasks created by clearml-task
            self._task.output_uri = True
        if queue is None or running_remotely():
            self._task.register_abort_callback(self._abort, _ABORT_S)
        self._answer(say=self._task.get_output_log_web_page())

    def _remove_former_tags(self) -> None:
        """Remove what an earlier run of this task, or of the one it was cloned from, said about its own result."""
        own = set(HEADS) | {"failed"}
        tags = self._task.get_tags() or []
        kept = [tag for tag in tags if tag not in own and not _OWN_TAG.fullmatch(tag)]
        if kept != list(tags):
            self._task.set_tags(kept)

    def _abort(self) -> None:
        """Stop the run because somebody aborted the task; the SDK ends this process when this returns."""
        self.aborted = True
        self._answer(abort=True)
        self._closed.wait(_ABORT_S)

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

    def log(self, *, text: str) -> None:
        self._logger.report_text(text, print_console=False)

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
            name=name if len(name.strip()) >= MIN_NAME else f"predictor {name}".strip(),
            label_enumeration={label: number for number, label in enumerate(labels)},
            tags=[*tags, fingerprint],
            comment=f"eno predictor on {fingerprint}",
            framework="Custom",
        )
        with tempfile.TemporaryDirectory() as temporary:
            archive = Path(temporary) / "predictor.zip"
            _pack(Path(folder), archive)
            model.update_weights(
                str(archive),
                auto_delete_file=False,
                target_filename=archive.name,
                update_comment=False,  # it would name the temporary folder
                is_package=True,
                async_enable=False,
            )
        if not Task.is_offline():
            if publish:
                model.publish()
            self._answer(say=f"model {model.id}", model=model.id)

    def input_model(self, *, tag: str) -> None:
        if Task.is_offline():
            self._outcome["input_model"] = tag
        else:
            set_input_model(self._task, tag, parent=not running_remotely())  # a clone's parent is its original

    def close(self, *, problem: str | None) -> None:
        self._task.flush(wait_for_uploads=True)
        self._task.close()  # marks it as completed
        if self._session:
            with zipfile.ZipFile(self._session, "a") as packed:
                packed.writestr(OUTCOME, json.dumps({**self._outcome, "problem": problem}))
            self._answer(say=f"session {self._session}; upload it with: eno tracking import {self._session}")
        else:
            set_status(self._task, ABORTED if self.aborted else problem)
        self._closed.set()

    def cut_off(self, problem: str | None) -> None:
        """End the task at once, without the uploads that are left."""
        if problem is None:
            self._task.mark_completed(force=True, status_message="the upload was cut off")
        else:
            set_status(self._task, problem)


def _check_queue(name: str) -> None:
    """Refuse an unknown queue before there is a task."""
    api: Any = Task._get_default_session()
    if api.send(queues.GetAllRequest(name=exact_match_regex(name), only_fields=["id"])).response.queues:
        return
    known = [one.name for one in api.send(queues.GetAllRequest(only_fields=["name"])).response.queues or ()]
    raise ValueError(f"there is no queue {name!r}; the server has {', '.join(known) or 'none'}")


def _script(script: dict[str, str]) -> dict[str, Any]:
    return {
        "binary": f"python{sys.version_info.major}.{sys.version_info.minor}",
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
