"""Judging a saved predictor by tracks that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eno.cnn.predictor import CNN, albums_and_groups, read_cnn
from eno.cnn.training import CNNResult, predict_split
from eno.data.layout import DataRoot
from eno.data.splits.stratify import SPLITS
from eno.evaluation.diagnosis import Predictions
from eno.evaluation.evaluation import Evaluation, evaluate_predictions
from eno.inference.predictor_folder import PredictorParts
from eno.models.aggregation import aggregate
from eno.training.record import TrainingRecord, check_unseen
from eno.training.tracks import Collection

_DIAGNOSED = 20_000  # training tracks that are looked at to tell whether they were learned by heart


@dataclass(frozen=True, eq=False)
class _Part:
    """Tracks of one part, their labels, and what the predictor says of them before calibration."""

    ids: list[str]
    albums: np.ndarray
    groups: np.ndarray
    truth: np.ndarray
    raw: np.ndarray


def evaluate_predictor(
    folder: Path,
    source: Collection | DataRoot,
    *,
    part: str = SPLITS[-1],
    resamples: int | None = None,
    device: str = "auto",
) -> Evaluation:
    """Judge a predictor by one part of a collection, with its own vocabulary.

    Parameters
    ----------
    folder : Path
        Where ``eno train`` or ``scripts/train.py`` put it.
    source : Collection or DataRoot
        Vectors of the predictor's encoder, and splits. Of a CNN from scratch the data root, with its features.
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
    CatalogueError
        Splits or features are missing or damaged.
    """
    parts, record = PredictorParts.load(folder, device=device), TrainingRecord.load(folder)
    cnn = read_cnn(folder, record, device) if record.head == CNN else None
    judged = _predict(parts, cnn, source, part)
    if part == SPLITS[-1]:
        check_unseen(folder, judged.ids)
    probabilities = _calibrated(parts, judged.raw)
    calibration, of_albums = parts.calibration, parts.album_calibration
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
        raw=None if calibration is None else judged.raw,
        train=_known(parts, _predict(parts, cnn, source, SPLITS[0], limit=_DIAGNOSED)),
        val=_known(parts, _predict(parts, cnn, source, SPLITS[1], limit=_DIAGNOSED)),
        aggregation=parts.album,
        album_probabilities=(
            None if of_albums is None else of_albums.apply(aggregate(probabilities, judged.albums, parts.album)[1])
        ),
        album_thresholds=None if of_albums is None else of_albums.thresholds,
        resamples=resamples,
    )


def _predict(
    parts: PredictorParts, cnn: CNNResult | None, source: Collection | DataRoot, part: str, *, limit: int | None = None
) -> _Part:
    """Ask the predictor about a part, or a draw of so many of its tracks."""
    if isinstance(source, DataRoot):
        assert cnn is not None
        ids, raw, truth = predict_split(cnn, source.root, part, windows=parts.policy.count)
        return _Part(ids, *albums_and_groups(source.splits, part, ids), truth, raw)
    source.store.require(parts.spec)
    tracks = replace(source, labels=parts.labels).tracks(part, head=parts.head)
    rows = np.sort(np.random.default_rng(0).permutation(len(tracks.ids))[:limit])
    raw = parts.head.predict_proba(tracks.X[rows])
    truth = (tracks.Y[rows].toarray() > 0).astype(np.float32)
    return _Part([tracks.ids[row] for row in rows], tracks.albums[rows], tracks.groups[rows], truth, raw)


def _known(parts: PredictorParts, one: _Part) -> Predictions:
    return Predictions(one.truth, _calibrated(parts, one.raw))


def _calibrated(parts: PredictorParts, raw: np.ndarray) -> np.ndarray:
    return raw if parts.calibration is None else parts.calibration.apply(raw)
