"""Evaluation of a model by its predictions for held-out tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.errors import LabelError, ModelError
from eno.evaluation.by_label import breakdown, per_label
from eno.evaluation.confidence import Interval, intervals, paired_difference
from eno.evaluation.curves import (
    PrecisionRecall,
    Reliability,
    ThresholdCurve,
    precision_recall,
    reliability_curve,
    threshold_curve,
)
from eno.evaluation.diagnosis import Finding, Predictions, diagnose
from eno.evaluation.errors import ConfusedPair, ErrorMap, WorstError, confused_pairs, error_map, worst_errors
from eno.evaluation.metrics import Metrics, check_predictions, evaluate
from eno.models.aggregation import AGGREGATIONS, aggregate
from eno.models.average_precision import has_both_classes, known_scores, positive_scores

FIXED = 0.5
"""Threshold for uncalibrated probabilities, the reference for calibration."""

_EXTREMES = 2  # best and worst labels with a curve
_MIN_POSITIVES = 5  # of a label with a curve


@dataclass(frozen=True)
class Level:
    """Metrics of tracks or albums, with confidence intervals, and by `eno.evaluation.by_label.breakdown`."""

    metrics: Metrics
    intervals: dict[str, Interval]
    parts: dict[str, Metrics | None]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Evaluation of a model.

    Attributes
    ----------
    artists : int
        Number of artists (or groups of artists).
    aggregation : str
        How tracks were aggregated into albums.
    aggregations : dict of str to Metrics
        Metrics of albums with each of `eno.models.aggregation.AGGREGATIONS`.
    chance : float
        Macro mAP of a random ranking.
    fixed : Metrics or None
        Of tracks, with uncalibrated probabilities and a threshold of 0.5.
    gain : dict of str to Interval
        How much calibration and thresholds improve F1 over `fixed`; empty for an uncalibrated model.
    per_label : pyarrow.Table
        See `eno.evaluation.by_label.PER_LABEL_SCHEMA`.
    precision_recall : list of PrecisionRecall
        All decisions, then some of the best and of the worst labels.
    common_threshold : float or None
        The threshold, if it is the same for all labels.
    """

    tracks: Level
    albums: Level
    artists: int
    aggregation: str
    aggregations: dict[str, Metrics]
    chance: float
    fixed: Metrics | None
    gain: dict[str, Interval]
    per_label: pa.Table
    findings: list[Finding]
    confused: list[ConfusedPair]
    error_map: ErrorMap
    worst: list[WorstError]
    precision_recall: list[PrecisionRecall]
    reliability: Reliability
    thresholds: ThresholdCurve
    common_threshold: float | None


def evaluate_predictions(
    *,
    labels: Sequence[str],
    families: Sequence[str],
    track_ids: Sequence[str],
    albums: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: float | np.ndarray,
    train_positives: np.ndarray,
    known: np.ndarray | None = None,
    raw: np.ndarray | None = None,
    train: Predictions | None = None,
    head: str = "mlp",
    calibration: Mapping[str, Any] = MappingProxyType({}),
    aggregation: str = "mean_logit",
    album_probabilities: np.ndarray | None = None,
    album_thresholds: np.ndarray | None = None,
) -> Evaluation:
    """Evaluate a model on its predictions for held-out tracks.

    Parameters
    ----------
    families : sequence of str [length=k]
        The family of each label, such as ``"genre"``.
    track_ids, albums, groups : sequence of str [length=n]
        Tracks, the album of each, and its artist or group of artists.
    truth, probabilities : np.ndarray [shape=(n, k)]
        Labels, positive above 0, and probabilities, calibrated if the predictor is.
    thresholds : float or np.ndarray [shape=(k,)]
        A label is predicted if its probability is strictly above.
    train_positives : np.ndarray [shape=(k,)]
        Number of training tracks with each label.
    known : np.ndarray [shape=(n, k), dtype=bool], optional
        Which labels are known; see `eno.evaluation.metrics.evaluate`.
    raw : np.ndarray [shape=(n, k)], optional
        Probabilities before calibration, to measure its effect.
    train, head, calibration : optional
        See `eno.evaluation.diagnosis.diagnose`.
    aggregation : str
        One of `eno.models.aggregation.AGGREGATIONS`.
    album_probabilities : np.ndarray [shape=(m, k)], optional
        Calibrated probabilities of albums, in the order of their first track. By default, those of tracks are
        aggregated.
    album_thresholds : np.ndarray [shape=(k,)], optional
        By default those of tracks.

    Raises
    ------
    LabelError
        No label has positives and negatives.
    ModelError
        A prediction is not finite.
    """
    _check(labels, families, train_positives, track_ids=track_ids, albums=albums, groups=groups, truth=truth)
    _check_usable(truth, known, "test tracks")
    if not np.isfinite(probabilities).all():
        broken = ~np.isfinite(probabilities).all(axis=1)
        raise ModelError(
            f"The model predicts NaN for {broken.sum()} of {len(broken)} tracks, first {track_ids[broken.argmax()]}. "
            "Train it again; if training diverged, with a lower learning rate: --set mlp.learning_rate=0.0003"
        )
    y, p, limits, known = check_predictions(truth, probabilities, thresholds, known)
    owners = np.asarray(groups).astype(str)
    counts = np.asarray(train_positives)

    def level(y: np.ndarray, p: np.ndarray, limits: np.ndarray, owners: np.ndarray, known: np.ndarray) -> Level:
        metrics = evaluate(y, p, thresholds=limits, known=known)
        found = intervals(y, p, limits, owners, known=known)
        parts = breakdown(y, p, thresholds=limits, families=families, train_positives=counts, known=known)
        return Level(metrics, found, parts)

    def gain(raw: np.ndarray) -> dict[str, Interval]:
        metrics = ("f1_macro", "f1_micro")
        return paired_difference(
            y, p, raw, owners, thresholds_a=limits, thresholds_b=FIXED, metrics=metrics, known=known
        )

    _, first = np.unique(np.asarray(albums).astype(str), return_index=True)
    first.sort()
    album_truth, album_known = (aggregate(one, albums, "max")[1] > 0 for one in (y, known))
    _check_usable(album_truth, album_known, "test albums")
    of_albums = aggregate(p, albums, aggregation)[1] if album_probabilities is None else album_probabilities
    usable, predicted = np.flatnonzero(has_both_classes(y, known)), (p > limits) & known
    table = per_label(labels, y, p, thresholds=limits, families=families, train_positives=counts, known=known)
    tracks = level(y, p, limits, owners, known)
    album_limits = limits if album_thresholds is None else album_thresholds
    return Evaluation(
        tracks=tracks,
        albums=level(album_truth, of_albums, album_limits, owners[first], album_known),
        artists=len(np.unique(owners)),
        aggregation=aggregation,
        aggregations={
            way: evaluate(album_truth, aggregate(p, albums, way)[1], thresholds=limits, known=album_known)
            for way in AGGREGATIONS
        },
        chance=float(y[:, usable].sum() / known[:, usable].sum()),
        fixed=None if raw is None else evaluate(y, raw, thresholds=FIXED, known=known),
        gain={} if raw is None else gain(raw),
        per_label=table,
        findings=diagnose(
            labels,
            Predictions(y, p, known),
            groups=owners,
            thresholds=limits,
            train_positives=counts,
            train=train,
            test_map=tracks.intervals["map_macro"],
            head=head,
            calibration=calibration,
        ),
        confused=confused_pairs(labels, y, predicted),
        error_map=error_map(labels, y, predicted),
        worst=worst_errors(labels, track_ids, albums, y, p, limits, known),
        precision_recall=[
            precision_recall(
                "all decisions",
                tracks.metrics.map_micro,
                positive_scores(y, p, usable),
                known_scores(p, known, usable),
            ),
            *_extremes(labels, y, p, known, table),
        ],
        reliability=reliability_curve(y, p, known, usable),
        thresholds=threshold_curve(y, p, known, usable),
        common_threshold=float(limits[0]) if (limits == limits[0]).all() else None,
    )


def _check(
    labels: Sequence[str], families: Sequence[str], train_positives: np.ndarray, *, truth: np.ndarray, **rows: Sized
) -> None:
    for name, values in rows.items():
        if len(values) != len(truth):
            raise ValueError(f"{name} has {len(values)} values for {len(truth)} rows.")
    of_labels: dict[str, Sized] = {"labels": labels, "families": families, "train_positives": train_positives}
    for name, values in of_labels.items():
        if len(values) != truth.shape[1]:
            raise ValueError(f"{name} has {len(values)} values for {truth.shape[1]} labels.")


def _check_usable(truth: np.ndarray, known: np.ndarray | None, rows: str) -> None:
    if not has_both_classes(truth, known).any():
        raise LabelError(
            f"None of the {truth.shape[1]} labels has both positives and negatives among the {len(truth)} {rows}, so "
            "there is nothing to evaluate. Hold out more artists: eno split --set split.test=0.25"
        )


def _extremes(
    labels: Sequence[str], y: np.ndarray, p: np.ndarray, known: np.ndarray, table: pa.Table
) -> list[PrecisionRecall]:
    """Compute curves of the labels with the best and worst average precision, among those with enough positives."""
    enough = table.filter((pc.field("test_positives") >= _MIN_POSITIVES) & pc.field("average_precision").is_valid())
    rows = enough.select(["label", "average_precision"]).to_pylist()
    if len(rows) > 2 * _EXTREMES:
        rows = [*rows[:_EXTREMES], *rows[-_EXTREMES:]]
    columns = {label: i for i, label in enumerate(labels)}
    chosen = [(columns[row["label"]], row) for row in reversed(rows)]
    return [
        precision_recall(row["label"], row["average_precision"], p[y[:, i], i], [p[known[:, i], i]])
        for i, row in chosen
    ]
