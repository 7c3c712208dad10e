"""The same labels on a Ray cluster: shares of them, wherever there are cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import numpy as np

from eno.errors import EnoError, MissingExtra
from eno.models.base import Training, chunks, take
from eno.models.lgbm.labels import Grown, LabelLearner, Plan, Rows
from eno.models.types import Vectors

_SHARE = 8  # labels of a task at most; what a machine that dies had under way is done again
_learners: dict[str, LabelLearner] = {}  # of the worker process: at most one


def learn_on_ray(training: Training, plan: Plan, labels: Sequence[int]) -> Iterator[Grown]:
    """Learn labels on a Ray cluster, or on a Ray of this machine if there is none.

    Which cluster is said by ``$RAY_ADDRESS``, as for all programs that use Ray; eno must be installed there. Vectors
    and labels lie in Ray's object store. Each of its worker processes sorts the vectors into bins once, and learns a
    label with one thread.

    Parameters
    ----------
    training, plan, labels
        See `eno.models.lgbm.labels.learn_here`, which learns the same.

    Yields
    ------
    Grown
        One for each label, in whatever order they are done.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    EnoError
        A task failed, other than by one label.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    stored: list[Any] = [_put(training.X, training.rows), _put(training.X_val, training.rows_val)]
    stored += [ray.put(part) for part in (training.Y.tocsc(), training.Y_val.tocsc(), training.weights, plan)]
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    share = max(1, min(_SHARE, len(labels) // (4 * int(resources.get("CPU", 1)))))
    task, key = ray.remote(num_cpus=1)(_learn), uuid4().hex
    waiting = [task.remote(key, stored, labels[first : first + share]) for first in range(0, len(labels), share)]
    try:
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done[0])
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise EnoError(f"Ray: {str(cause).strip().splitlines()[-1]}") from error
    finally:
        for one in waiting:
            ray.cancel(one)


def _put(X: Vectors, rows: np.ndarray) -> list[Any]:
    """Vectors into the object store, a piece at a time, so that they are never in memory twice."""
    import ray

    return [ray.put(take(X, rows[at])) for at in chunks(len(rows))]


def _learn(key: str, stored: Sequence[Any], labels: Sequence[int]) -> list[Grown]:
    """What a task does."""
    import ray

    if key not in _learners:
        _learners.clear()
        pieces, pieces_val = ([Rows(X, np.arange(len(X))) for X in ray.get(refs)] for refs in stored[:2])
        Y, Y_val, weights, plan = ray.get(list(stored[2:]))
        _learners[key] = LabelLearner(pieces, pieces_val, Y, Y_val, weights, plan, threads=1)
    return [_learners[key].learn(label) for label in labels]
