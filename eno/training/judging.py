"""Judging a saved predictor by the tracks of a store that it has not seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from eno.data.stratify import SPLITS
from eno.evaluation.diagnosis import Predictions
from eno.evaluation.evaluation import Evaluation, evaluate_predictions
from eno.inference.saved import PredictorParts
from eno.models.aggregation import aggregate
from eno.training.record import TrainingRecord, check_unseen
from eno.training.tracks import Collection, LabelledTracks

_DIAGNOSED = 20_000  # training tracks that are looked at to tell whether they were learned by heart


def evaluate_predictor(
    folder: Path, collection: Collection, *, part: str = SPLITS[-1], resamples: int | None = None, device: str = "auto"
) -> Evaluation:
    """Judge a predictor by one part of a collection, with its own vocabulary.

    Parameters
    ----------
    folder : Path
        Where ``eno train`` or ``scripts/train.py`` put it.
    collection : Collection
        Vectors of the predictor's encoder, and splits. Of a CNN's these are its own probabilities: what ``eno embed
        --encoder simple_cnn`` gives.
    part : {"test", "val", "train"}
        Judged by. Only of the test part figures are what new music will give.
    resamples : int, optional
        See `eno.evaluation.evaluation.evaluate_predictions`.
    device : str
        See `eno.devices.resolve_device`.

    Returns
    -------
    Evaluation

    Raises
    ------
    FingerprintMismatch
        The vectors are those of another encoder.
    ModelError
        The predictor is damaged; or it was trained with other splits, so that it knows tracks of the test part.
    """
    parts = PredictorParts.load(folder, device=device)
    record = TrainingRecord.load(folder)
    collection.store.require(parts.spec)
    collection = replace(collection, labels=parts.labels)
    judged = _tracks(collection, parts, part)
    if part == SPLITS[-1]:
        check_unseen(folder, judged.ids)
    raw, probabilities = _predict(parts, judged, np.arange(len(judged.ids)))
    of_albums = aggregate(probabilities, judged.albums, parts.album)[1]
    calibration, of_album = parts.calibration, parts.album_calibration
    return evaluate_predictions(
        labels=parts.labels.all_labels,
        num_genres=parts.labels.num_genres,
        track_ids=judged.ids,
        albums=judged.albums,
        groups=judged.groups,
        truth=judged.truth,
        probabilities=probabilities,
        thresholds=0.5 if calibration is None else calibration.thresholds,
        train_positives=np.array(record.train_positives),
        raw=None if calibration is None else raw,
        train=_known(collection, parts, SPLITS[0]),
        val=_known(collection, parts, SPLITS[1]),
        aggregation=parts.album,
        album_probabilities=None if of_album is None else of_album.apply(of_albums),
        album_thresholds=None if of_album is None else of_album.thresholds,
        resamples=resamples,
    )


def _tracks(collection: Collection, parts: PredictorParts, part: str) -> LabelledTracks:
    return collection.tracks(part, windows=parts.head is not None and parts.head.takes_windows)


def _known(collection: Collection, parts: PredictorParts, part: str) -> Predictions:
    """What the predictor says about a draw of the tracks that it was made with."""
    tracks = _tracks(collection, parts, part)
    rows = np.sort(np.random.default_rng(0).permutation(len(tracks.ids))[:_DIAGNOSED])
    return Predictions((tracks.Y[rows].toarray() > 0).astype(np.float32), _predict(parts, tracks, rows)[1])


def _predict(parts: PredictorParts, tracks: LabelledTracks, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of some tracks as the head gives them, and calibrated."""
    X = tracks.X[rows]
    raw = np.asarray(X, np.float32) if parts.head is None else parts.head.predict_proba(X)
    return raw, raw if parts.calibration is None else parts.calibration.apply(raw)
