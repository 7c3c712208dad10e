"""Evaluate a saved predictor on held-out tracks."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from eno.data.splits.stratify import SPLITS
from eno.evaluation.diagnosis import Predictions
from eno.evaluation.evaluation import Evaluation, evaluate_predictions
from eno.inference.predictor_folder import PredictorParts
from eno.processes import give_back_memory
from eno.training.collection import PredictionSource
from eno.training.record import FOLDS, TrainingRecord, unseen_tracks

logger = logging.getLogger(__name__)

_DIAGNOSED = 20_000  # maximum number of training tracks, to detect over-fitting


def evaluate_predictor(
    folder: Path,
    source: PredictionSource,
    *,
    split: str = SPLITS[-1],
    device: str = "auto",
) -> Evaluation:
    """Evaluate a predictor on a split, with its own vocabulary.

    Parameters
    ----------
    source : PredictionSource
        A `eno.training.collection.Collection` with embeddings of the predictor's encoder; for a CNN a
        `eno.cnn.predictor.FeatureCollection`.
    split : {"test", "val", "train"}
        Only the test split estimates the performance on new music.

    Raises
    ------
    ModelError
        The predictor is damaged; or all tracks of the test split were in its training or validation split. If only some
        were, these are left out, with a warning.
    """
    parts, record = PredictorParts.load(folder, device=device, taught=False), TrainingRecord.load(folder)
    found = source.predict(parts, split)
    if split == SPLITS[1] and record.validation.get("method") == FOLDS:
        logger.warning("%s has learned from the validation split as well, so its figures there are too good", folder)
    if split == SPLITS[-1]:
        unseen = unseen_tracks(folder, found.ids)
        if len(unseen) < len(found.ids):
            logger.warning(
                "%s has learned from %d of these %d test tracks, which are left out",
                folder, len(found.ids) - len(unseen), len(found.ids),
            )  # fmt: skip
            found = found.select(unseen)
    probabilities = parts.calibrated(found.probabilities)
    train = None if split == SPLITS[0] else source.predict(parts, SPLITS[0], limit=_DIAGNOSED)
    give_back_memory()  # of the tables
    return evaluate_predictions(
        labels=parts.labels.all_labels,
        families=parts.labels.families,
        track_ids=found.ids,
        albums=found.albums,
        groups=found.groups,
        truth=found.truth,
        probabilities=probabilities,
        thresholds=parts.thresholds,
        train_positives=np.array(record.train_positives),
        known=found.known,
        raw=None if parts.calibration is None else found.probabilities,
        train=None if train is None else Predictions(train.truth, parts.calibrated(train.probabilities), train.known),
        head=record.head,
        calibration=record.calibration,
        aggregation=parts.album,
        album_probabilities=parts.combine_tracks(probabilities, found.albums)[1],
        album_thresholds=parts.album_thresholds,
    )
