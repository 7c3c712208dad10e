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

_TASK = "task.json"


def import_session(session: Path) -> tuple[str, str]:
    """Create a task on the server from the zip file of an offline session, and return the task's id and URL."""
    with tempfile.TemporaryDirectory(prefix="eno-session-") as temporary:
        folder = Path(temporary)
        _unpack(session, folder)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # the SDK prints to standard output too
                task_id = Task.import_offline_session(str(folder))
            if task_id is None:
                raise TrackingError(f"{session}: the server did not accept the session. Try again.")
            return task_id, str(Task.get_task(task_id).get_output_log_web_page())
        except TrackingError:
            raise
        except Exception as error:
            raise TrackingError(
                f"{session}: could not be imported ({type(error).__name__}: {error}). Is the ClearML server running?"
            ) from error


def _unpack(session: Path, folder: Path) -> None:
    """Unpack a session and replace the original paths of models, so that the SDK finds and uploads the files."""
    try:
        with zipfile.ZipFile(session) as packed:
            packed.extractall(folder)
        content: dict[str, Any] = json.loads((folder / _TASK).read_text(encoding="utf-8"))
        for model in content.get("offline_output_models", []):
            weights = model["weights"]
            weights["weights_filename"] = str(folder / "models" / PurePath(weights["weights_filename"]).name)
            weights["upload_uri"] = str(Session.get_files_server_host())
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TrackingError(
            f"{session}: is not a session written by --tracking offline ({error}). Expected its zip file."
        ) from error
    (folder / _TASK).write_text(json.dumps(content), encoding="utf-8")
