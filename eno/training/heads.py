"""Fitting a head on a collection: learn, calibrate on the validation part, keep all of it as a predictor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eno.data.splits.stratify import SPLITS
from eno.errors import LabelError, TrainingError
from eno.inference.predictor_folder import PredictorParts
from eno.models import Head, create_head
from eno.models.aggregation import aggregate
from eno.models.calibration.calibrate import Calibration, fit_calibration
from eno.models.ranking import macro_map
from eno.training.corrections import Corrections
from eno.training.record import HeadPlan, TrainingRecord
from eno.training.tracks import Collection

_CHECKPOINT, _ON_EPOCH = "checkpoint", "on_epoch"


@dataclass(frozen=True)
class TrainedHead:
    """A predictor without its encoder, and how it came about.

    Attributes
    ----------
    parts : PredictorParts
        What is saved.
    record : TrainingRecord
        How it was made.
    """

    parts: PredictorParts
    record: TrainingRecord

    @property
    def head(self) -> Head:
        """The fitted head."""
        return self.parts.head

    def save(self, folder: Path) -> None:
        """Write the predictor and its record; an evaluation of what was there before goes."""
        self.parts.save(folder)
        self.record.save(folder)


def train_head(
    collection: Collection,
    plan: HeadPlan,
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    corrections: Corrections | None = None,
) -> TrainedHead:
    """Fit a head on the training part; choose, stop and calibrate by the validation part.

    Parameters
    ----------
    collection : Collection
        Vectors, splits and labels. The test part is not read.
    plan : HeadPlan
        What to train.
    device : str
        See `eno.devices.resolve_device`.
    checkpoint : Path, optional
        Folder for what a long training has done so far, for heads that can go on from there.
    on_progress : callable, optional
        Takes the steps done and to do.
    on_epoch : callable, optional
        Takes the number of an epoch, from 1 on, and what it gave: ``train_loss``, ``val_loss``, ``val_map``,
        ``learning_rate``. Heads that do not learn in epochs never call it.
    corrections : Corrections, optional
        What people have said of tags: it goes over the labels of the albums.

    Returns
    -------
    TrainedHead

    Raises
    ------
    LabelError
        No training track has any of the labels.
    ConfigError
        An option is unknown.
    TrainingError
        The vectors cannot be learned from, an option has a wrong value, or training diverges.
    """
    head = create_head(plan.head, device=device, **plan.options)
    head.on_progress = on_progress
    if hasattr(head, _ON_EPOCH):
        setattr(head, _ON_EPOCH, on_epoch)
    if checkpoint is not None and hasattr(head, _CHECKPOINT):
        setattr(head, _CHECKPOINT, checkpoint / _CHECKPOINT)
    train, val = (collection.tracks(part, head=head) for part in SPLITS[:2])
    sample_weight = None
    if corrections is not None:
        train, sample_weight = corrections.apply(train, collection.labels)
    if train.Y.nnz == 0:
        raise LabelError(
            f"{collection.splits}: none of {len(train.ids)} training tracks has any of the labels. "
            "Choose labels anew with: eno labels"
        )
    began = time.monotonic()
    try:
        head.fit(train.X, train.Y, val.X, val.truth, groups=train.groups, sample_weight=sample_weight)
    except ValueError as error:
        raise TrainingError(f"The head {plan.head!r} cannot be fitted on {collection.store.path}: {error}") from error
    probabilities = head.predict_proba(val.X)
    calibration, of_albums = calibrate(probabilities, val.truth, val.albums, val.groups, plan)
    seconds = time.monotonic() - began
    labels, spec, policy = collection.labels, collection.store.spec, collection.store.policy
    parts = PredictorParts(
        spec=spec,
        labels=labels,
        head=head,
        policy=policy,
        calibration=calibration,
        album_calibration=of_albums,
        album=plan.album,
    )
    record = TrainingRecord.of(
        plan,
        store=str(collection.store.path),
        splits=collection.splits,
        encoder=spec.label,
        train_positives=np.bincount(train.Y.indices, minlength=len(labels)),
        seconds=seconds,
        map_macro=macro_map(val.truth, probabilities),
        calibration=calibration,
        feedback=None if corrections is None else corrections.to_dict(),
    )
    return TrainedHead(parts, record)


def calibrate(
    probabilities: np.ndarray, truth: np.ndarray, albums: np.ndarray, groups: np.ndarray, plan: HeadPlan
) -> tuple[Calibration, Calibration]:
    """Learn from the validation part what probabilities mean, for tracks and for albums.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, num_labels)]
        What a head says about the tracks of the validation part.
    truth : np.ndarray [shape=(n, num_labels)]
        Their labels, 0 or 1.
    albums, groups : np.ndarray [shape=(n,)]
        Their albums and groups of artists.
    plan : HeadPlan
        Its ``calibration`` and ``album`` count.

    Returns
    -------
    calibration, album_calibration : Calibration
    """
    calibration = fit_calibration(probabilities, truth, groups=groups, **plan.calibration)
    _, of_albums = aggregate(calibration.apply(probabilities), albums, plan.album)
    rows = first_of_each(albums)
    return calibration, fit_calibration(of_albums, truth[rows], groups=groups[rows], **plan.calibration)


def first_of_each(albums: np.ndarray) -> np.ndarray:
    """Row of each album's first track [dtype=int64], in the order in which `aggregate` gives the albums."""
    return np.sort(np.unique(albums.astype(str), return_index=True)[1])
