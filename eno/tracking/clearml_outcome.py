"""How a task ended and where it came from: for tasks of the present process and for imported sessions."""

from __future__ import annotations

from clearml import Model, Task

from eno.tracking.experiment import INTERRUPTED

OUTCOME = "eno.json"
"""File in the zip file of an offline session: ``problem`` and ``input_model``, which a session has no place for."""


ABORTED = "aborted in ClearML"
"""The problem of a run whose task somebody stopped on the server."""

_STOPPED = {INTERRUPTED: "stopped by the user", ABORTED: ABORTED}


def set_status(task: Task, problem: str | None) -> None:
    """Mark a task that the SDK has completed as failed or, if somebody stopped it, as stopped."""
    if problem in _STOPPED:
        task.mark_stopped(force=True, status_message=_STOPPED[problem])
    elif problem is not None:
        task.mark_failed(status_reason="failed", status_message=problem, force=True)


def set_input_model(task: Task, tag: str, *, parent: bool) -> None:
    """Link a task to the registered model with a tag, and as its child to the task that made the model."""
    for model in Model.query_models(tags=[tag], include_archived=True, max_results=1):
        task.set_input_model(model.id, update_task_design=False, update_task_labels=False)
        if parent and model.original_task:
            task.set_parent(model.original_task)
