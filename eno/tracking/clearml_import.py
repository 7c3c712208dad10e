"""Upload sessions that were tracked offline to a ClearML server."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import zipfile
from pathlib import Path, PurePath
from typing import Any

from clearml import Task
from clearml.backend_api import Session

from eno.errors import TrackingError
from eno.tracking.clearml_outcome import OUTCOME, set_input_model, set_status
from eno.tracking.clearml_server import server_problem

_TASK = "task.json"
_UNFINISHED = ("created", "in_progress")
_UNKNOWN = "the run failed; the session does not say why"


def import_session(session: Path) -> tuple[str, str, bool]:
    """Create a task on the server from the zip file of an offline session.

    Returns
    -------
    id, url : str
        The task, which ends as the run did: completed, failed or stopped.
    new : bool
        False if the session was imported before; its task is returned then.
    """
    with tempfile.TemporaryDirectory(prefix="eno-session-") as temporary:
        folder = Path(temporary)
        outcome = _unpack(session, folder)
        problem = server_problem()
        if problem is not None:
            raise TrackingError(f"{session}: not imported, because the ClearML server does not answer ({problem}).")
        try:
            with contextlib.redirect_stdout(sys.stderr):  # the SDK prints to standard output too
                return _import(folder, outcome)
        except Exception as error:
            raise TrackingError(
                f"{session}: could not be imported ({type(error).__name__}: {error}). Check the server and the "
                "credentials, and import it again."
            ) from error


def _import(folder: Path, outcome: dict[str, Any]) -> tuple[str, str, bool]:
    earlier: Task
    for earlier in Task.get_tasks(task_filter={"system_tags": [outcome["session"]]}):
        if earlier.get_status() not in _UNFINISHED:
            return earlier.id, str(earlier.get_output_log_web_page()), False
        earlier.delete(raise_on_error=False)  # an import that was interrupted
    task_id = Task.import_offline_session(str(folder))
    if task_id is None:
        raise TrackingError("the server did not accept it")
    task: Task = Task.get_task(task_id)
    if "input_model" in outcome:
        task.mark_started(force=True)  # a completed task cannot be changed
        set_input_model(task, outcome["input_model"], parent=True)
        task.mark_completed()
    set_status(task, outcome["problem"])
    return task_id, str(task.get_output_log_web_page()), True


def _unpack(session: Path, folder: Path) -> dict[str, Any]:
    """Unpack a session and return its outcome.

    The original paths of models are replaced, so that the SDK finds and uploads the files.
    """
    try:
        with zipfile.ZipFile(session) as packed:
            packed.extractall(folder)
        content: dict[str, Any] = json.loads((folder / _TASK).read_text(encoding="utf-8"))
        for model in content.get("offline_output_models", []):
            weights = model["weights"]
            weights["weights_filename"] = str(folder / "models" / PurePath(weights["weights_filename"]).name)
            weights["upload_uri"] = str(Session.get_files_server_host())
        session_id = f"session {content['id']}"
        content["system_tags"] = [*(content.get("system_tags") or []), session_id]  # by which another import finds it
        outcome = folder / OUTCOME
        if outcome.is_file():
            kept: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8"))
        else:  # written up to version 0.1
            kept = {"problem": _UNKNOWN if "failed" in (content.get("tags") or []) else None}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TrackingError(
            f"{session}: is not a session written by --tracking offline ({error}). Expected its zip file."
        ) from error
    (folder / _TASK).write_text(json.dumps(content), encoding="utf-8")
    return kept | {"session": session_id}
