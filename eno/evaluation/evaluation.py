"""All that is to be said about one model, from its predictions for held-out tracks."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.errors import LabelError, ModelError
from eno.evaluation.bootstrap import RESAMPLES, Interval, intervals, paired_difference
from eno.evaluation.by_label import breakdown, per_label
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
from eno.models.average_precision import has_both_classes

FIXED = 0.5
"""The threshold that calibrated ones are compared with."""

_BUDGET = 10_000_000_000  # decisions that are resampled: 500 times 20,000 tracks of 1,000 labels
_FEWEST = 100
_EXTREMES = 2  # labels at either end whose curves are drawn
_FROM = 5  # positives that a label needs for a curve of its own


@dataclass(frozen=True)
class Level:
    """How good predictions are for tracks, or for albums.

    Attributes
    ----------
    metrics : Metrics
        Over all labels that can be judged.
    intervals : dict of str to Interval
        The headline metrics, see `eno.evaluation.bootstrap.intervals`.
    parts : dict of str to Metrics or None
        Families and bands, see `eno.evaluation.by_label.breakdown`.
    """

    metrics: Metrics
    intervals: dict[str, Interval]
    parts: dict[str, Metrics | None]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What is known about a model.

    Attributes
    ----------
    tracks, albums : Level
        How good it is for each.
    artists, resamples : int
        Groups of artists in the test part, and how often they were drawn for the intervals.
    aggregation : str
        How tracks became albums.
    aggregations : dict of str to Metrics
        What every way gives, by the names in `eno.models.aggregation.AGGREGATIONS`.
    chance : float
        Macro mAP of a ranking by chance.
    fixed : Metrics or None
        Of the tracks, with probabilities that are not calibrated and a threshold of 0.5.
    gain : dict of str to Interval
        By how much calibration and thresholds are better than that, in F1; empty where there is nothing to compare.
    per_label : pyarrow.Table
        See `eno.evaluation.by_label.PER_LABEL_SCHEMA`.
    findings : list of Finding
        The common issues.
    confused : list of ConfusedPair
        Labels that are predicted in place of others.
    error_map : ErrorMap
        Labels that go wrong together.
    worst : list of WorstError
        Errors to listen to.
    ranking : list of PrecisionRecall
        All decisions, then some of the best and of the worst labels.
    reliability : Reliability
        Whether probabilities keep their promise.
    thresholds : ThresholdCurve
        F1 at common thresholds.
    common_threshold : float or None
        The threshold of all labels, if they share one.
    """

    tracks: Level
    albums: Level
    artists: int
    resamples: int
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
    ranking: list[PrecisionRecall]
    reliability: Reliability
    thresholds: ThresholdCurve
    common_threshold: float | None


def evaluate_predictions(
    *,
    labels: Sequence[str],
    num_genres: int,
    track_ids: Sequence[str],
    albums: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: float | np.ndarray,
    train_positives: np.ndarray,
    raw: np.ndarray | None = None,
    train: Predictions | None = None,
    val: Predictions | None = None,
    aggregation: str = "mean_logit",
    album_probabilities: np.ndarray | None = None,
    album_thresholds: np.ndarray | None = None,
    resamples: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Judge a model by its predictions for held-out tracks.

    Parameters
    ----------
    labels : sequence of str [length=k]
        Names of the labels.
    num_genres : int
        So many of them, the first ones, are genres.
    track_ids, albums, groups : sequence of str [length=n]
        The tracks, the album of each, and its artist or group of artists.
    truth : np.ndarray [shape=(n, k)]
        Labels; what is above 0 counts.
    probabilities : np.ndarray [shape=(n, k)]
        Calibrated, if the predictor is.
    thresholds : float or np.ndarray [shape=(k,)]
        A label is predicted where its probability is strictly above.
    train_positives : np.ndarray [shape=(k,)]
        Training tracks that have each label.
    raw : np.ndarray [shape=(n, k)], optional
        Probabilities before calibration, to see what calibration and thresholds are worth.
    train, val : Predictions, optional
        For the diagnosis, see `eno.evaluation.diagnosis.diagnose`.
    aggregation : str
        How tracks become albums, see `eno.models.aggregation.AGGREGATIONS`.
    album_probabilities : np.ndarray [shape=(m, k)], optional
        Of the albums, in the order in which they first occur, if the predictor calibrates these too; else those of
        their tracks are aggregated.
    album_thresholds : np.ndarray [shape=(k,)], optional
        Thresholds of albums; else those of tracks.
    resamples : int, optional
        How often artists are drawn for the intervals; if not given, 1000 times, less often where there are more than
        10 million decisions, but at least 100 times.
    seed : int
        Decides which artists are drawn.

    Returns
    -------
    Evaluation

    Raises
    ------
    LabelError
        No label can be judged.
    ModelError
        The model predicts what is no probability.
    ValueError
        The arrays do not fit together.
    """
    _check(labels, train_positives, track_ids=track_ids, albums=albums, groups=groups, truth=truth)
    if not np.isfinite(probabilities).all():
        broken = ~np.isfinite(probabilities).all(axis=1)
        raise ModelError(
            f"The model predicts NaN for {broken.sum()} of {len(broken)} tracks, first {track_ids[broken.argmax()]}. "
            "Train it again, with a lower rate if training went astray: --set mlp.learning_rate=0.0003"
        )
    y, p, limits = check_predictions(truth, probabilities, thresholds)
    owners = np.asarray(groups).astype(str)
    draws = resamples or int(np.clip(_BUDGET // y.size, _FEWEST, RESAMPLES))
    counts = np.asarray(train_positives)

    def level(y: np.ndarray, p: np.ndarray, limits: np.ndarray, owners: np.ndarray) -> Level:
        metrics = evaluate(y, p, thresholds=limits)
        found = intervals(y, p, limits, owners, resamples=draws, seed=seed)
        parts = breakdown(y, p, thresholds=limits, num_genres=num_genres, train_positives=counts)
        return Level(metrics, found, parts)

    _, first = np.unique(np.asarray(albums).astype(str), return_index=True)
    first.sort()
    album_truth = aggregate(y, albums, "max")[1] > 0
    by_way = {way: aggregate(p, albums, way)[1] for way in AGGREGATIONS}
    _check_judged(album_truth, "test albums")
    judged, predicted = has_both_classes(y), p > limits
    judged_y, judged_p = y[:, judged], p[:, judged]
    table = per_label(labels, y, p, thresholds=limits, num_genres=num_genres, train_positives=counts)
    tracks = level(y, p, limits, owners)
    of_albums = by_way[aggregation] if album_probabilities is None else album_probabilities
    album_limits = limits if album_thresholds is None else album_thresholds
    return Evaluation(
        tracks=tracks,
        albums=level(album_truth, of_albums, album_limits, owners[first]),
        artists=len(np.unique(owners)),
        resamples=draws,
        aggregation=aggregation,
        aggregations={way: evaluate(album_truth, one, thresholds=limits) for way, one in by_way.items()},
        chance=float(judged_y.mean()),
        fixed=None if raw is None else evaluate(y, raw, thresholds=FIXED),
        gain={} if raw is None else _gain(y, p, raw, owners, limits, draws, seed),
        per_label=table,
        findings=diagnose(labels, Predictions(y, p), thresholds=limits, train_positives=counts, train=train, val=val),
        confused=confused_pairs(labels, y, predicted),
        error_map=error_map(labels, y, predicted),
        worst=worst_errors(labels, track_ids, albums, y, p, limits),
        ranking=[
            precision_recall("all decisions", tracks.metrics.map_micro, judged_y.reshape(-1), judged_p.reshape(-1)),
            *_extremes(labels, y, p, table),
        ],
        reliability=reliability_curve(judged_y, judged_p),
        thresholds=threshold_curve(judged_y, judged_p),
        common_threshold=float(limits[0]) if (limits == limits[0]).all() else None,
    )


def _check(labels: Sequence[str], train_positives: np.ndarray, *, truth: np.ndarray, **rows: Sized) -> None:
    for name, values in rows.items():
        if len(values) != len(truth):
            raise ValueError(f"{name} has {len(values)} values for {len(truth)} rows.")
    for name, number in {"labels": len(labels), "train_positives": len(train_positives)}.items():
        if number != truth.shape[1]:
            raise ValueError(f"{name} has {number} values for {truth.shape[1]} labels.")
    _check_judged(truth, "test tracks")


def _check_judged(truth: np.ndarray, what: str) -> None:
    if not has_both_classes(truth).any():
        raise LabelError(
            f"None of the {truth.shape[1]} labels is on some of the {len(truth)} {what} and not on others, so nothing "
            "can be judged. Hold out more artists: eno split --set split.test=0.25"
        )


def _gain(
    y: np.ndarray, p: np.ndarray, raw: np.ndarray, owners: np.ndarray, limits: np.ndarray, resamples: int, seed: int
) -> dict[str, Interval]:
    return paired_difference(
        y,
        p,
        raw,
        owners,
        thresholds_a=limits,
        thresholds_b=FIXED,
        metrics=("f1_macro", "f1_micro"),
        resamples=resamples,
        seed=seed,
    )


def _extremes(labels: Sequence[str], y: np.ndarray, p: np.ndarray, table: pa.Table) -> list[PrecisionRecall]:
    """Curves of the labels that are ranked best and worst, of those with enough positives to draw one."""
    enough = table.filter((pc.field("test_positives") >= _FROM) & pc.field("average_precision").is_valid())
    rows = enough.select(["label", "average_precision"]).to_pylist()
    if len(rows) > 2 * _EXTREMES:
        rows = [*rows[:_EXTREMES], *rows[-_EXTREMES:]]
    columns = {label: i for i, label in enumerate(labels)}
    chosen = [(columns[row["label"]], row) for row in reversed(rows)]
    return [precision_recall(row["label"], row["average_precision"], y[:, i], p[:, i]) for i, row in chosen]
