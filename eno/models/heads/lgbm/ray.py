"""Training of labels on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import numpy as np

from eno.errors import EnoError, MissingExtra
from eno.models.heads.lgbm.labels import BoostingOptions, LabelTrainer, LabelTrees, Rows
from eno.models.training_data import TrainingData, chunks, take
from eno.models.types import Vectors

_LABELS_PER_TASK = 8  # at most; when a machine dies, its unfinished tasks are repeated
_trainers: dict[str, LabelTrainer] = {}  # of the worker process: at most one


def train_on_ray(data: TrainingData, options: BoostingOptions, labels: Sequence[int]) -> Iterator[LabelTrees]:
    """Do the same as `eno.models.heads.lgbm.labels.train_in_threads` on a Ray cluster, or else on a local Ray.

    ``$RAY_ADDRESS`` selects the cluster; eno must be installed there. Vectors and labels are put into Ray's object
    store. Each worker process bins the vectors once, and trains with one thread.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    stored: list[Any] = [_put(data.X, data.rows), _put(data.X_val, data.rows_val)]
    stored += [ray.put(part) for part in (data.Y.tocsc(), data.Y_val.tocsc(), data.weights, data.weights_val, options)]
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    share = max(1, min(_LABELS_PER_TASK, len(labels) // (4 * int(resources.get("CPU", 1)))))
    task, key = ray.remote(num_cpus=1)(_train), uuid4().hex
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
    """Put vectors into the object store in chunks, so that they are never in memory twice."""
    import ray

    return [ray.put(take(X, rows[at])) for at in chunks(len(rows))]


def _train(key: str, stored: Sequence[Any], labels: Sequence[int]) -> list[LabelTrees]:
    import ray

    if key not in _trainers:
        _trainers.clear()
        pieces, pieces_val = ([Rows(X, np.arange(len(X))) for X in ray.get(refs)] for refs in stored[:2])
        _trainers[key] = LabelTrainer(pieces, pieces_val, *ray.get(list(stored[2:])), threads=1)
    return [_trainers[key].train(label) for label in labels]
