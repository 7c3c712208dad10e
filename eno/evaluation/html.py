"""The evaluation report as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eno.evaluation import charts
from eno.evaluation.confidence import HEADLINE, INTERVALS, NO_INTERVALS
from eno.evaluation.diagnosis import Finding
from eno.evaluation.errors import WorstError
from eno.evaluation.evaluation import Evaluation, Level
from eno.evaluation.metrics import Metrics
from eno.files import AudioRoots, printable
from eno.reporting.page import Card, Cards, Chapter, Picture, Table, audio_address, write_page
from eno.reporting.plotting import lift_map

NAMES = {"map_macro": "mAP, macro", "f1_macro": "F1, macro", "f1_micro": "F1, micro", "roc_auc_macro": "ROC-AUC, macro"}
"""Display names of the headline metrics."""

_OTHERS = {
    "precision_macro": "precision, macro",
    "recall_macro": "recall, macro",
    "precision_micro": "precision, micro",
    "recall_micro": "recall, micro",
    "precision_samples": "precision, mean over tracks",
    "recall_samples": "recall, mean over tracks",
    "f1_samples": "F1, mean over tracks",
    "map_micro": "mAP, micro",
    "lrap": "label ranking average precision",
    "coverage_error": "coverage error (labels)",
    "hamming_loss": "Hamming loss",
    "ece": "calibration error, all decisions",
    "ece_macro": "calibration error, by label",
}
_ALL, _WORST, _BEST = 150, 60, 20  # if there are more labels than the first number, only the worst and best are listed
_LISTED = 8  # labels on a card
_MIN_MAPPED = 3  # labels in a heat map
_COLUMNS = ("mAP", "F1 macro", "F1 micro", "ROC-AUC")


def write_html(found: Evaluation, path: Path, *, audio_roots: AudioRoots | Path | None = None) -> None:
    """Write the report; the same evaluation yields the same bytes.

    If `audio_roots` are passed, the page plays the tracks of the worst errors, by links relative to the page. Raises
    MissingExtra without matplotlib.
    """
    chapters = [
        *(_overview(found), _diagnosis(found), _ranking(found), _thresholds(found), _albums(found)),
        *_confusion(found),
        *_listening(found, path, audio_roots),
        _labels(found),
    ]
    metrics = found.tracks.metrics
    hints = [
        f"{metrics.rows:,} held-out tracks on {found.albums.metrics.rows:,} albums by {found.artists:,} artists; "
        f"{metrics.labels} labels.",
        f"Excluded from all metrics: {metrics.without_positives} labels that no test track has and "
        f"{metrics.without_negatives} labels that every test track has. {metrics.rows_without_labels} tracks have no "
        "label.",
    ]
    write_page(path, "Evaluation", "Evaluation of the predicted tags", chapters, hints=hints)


def _overview(found: Evaluation) -> Chapter:
    levels = {"tracks": found.tracks, "albums": found.albums}
    shown = {name: level.intervals for name, level in levels.items()}
    rows = [(title, *(one[name] for one in shown.values())) for name, title in NAMES.items()]
    others = [
        (title, *(_values(level.metrics, [name])[0] for level in levels.values())) for name, title in _OTHERS.items()
    ]
    known = any(not np.isnan(interval.low) for one in shown.values() for interval in one.values())
    return Chapter(
        "Overview",
        f"Below each value: {INTERVALS}. " * known
        + f"There are {NO_INTERVALS}. " * (not known)
        + f"A random ranking has a macro mAP of {found.chance:.3f} and a ROC-AUC of 0.5. Macro is the mean over "
        "labels; micro pools all decisions.",
        [
            [
                Picture("headline metrics with confidence intervals", charts.headline(shown, NAMES)),
                Table("headline", ("", *levels), rows),
            ],
            [_parts(name, level) for name, level in levels.items()],
            [Table("further metrics", ("", *levels), others)],
        ],
    )


def _values(metrics: Metrics | None, names: Sequence[str] = HEADLINE) -> list[str]:
    return ["…"] * len(names) if metrics is None else [f"{getattr(metrics, name):.3f}" for name in names]


def _parts(title: str, level: Level) -> Table:
    rows = [
        (name, 0 if metrics is None else metrics.labels, *_values(metrics)) for name, metrics in level.parts.items()
    ]
    return Table(f"{title}: families and frequency bands", ("", "labels", *_COLUMNS), rows)


def _diagnosis(found: Evaluation) -> Chapter:
    return Chapter("Diagnosis", "Checks for common issues.", [[Cards([_finding(one) for one in found.findings])]])


def _finding(finding: Finding) -> Card:
    state, word = {True: ("found", "found"), False: ("fine", "not found"), None: ("", "unknown")}[finding.found]
    details = [("Try", finding.remedy)] if finding.remedy else []
    return Card(f"{finding.issue}: {word}", f"{finding.evidence}.", details, state)


def _ranking(found: Evaluation) -> Chapter:
    curves = Picture("precision-recall curves", charts.precision_recall_curves(found.precision_recall))
    by_frequency = Picture(
        "average precision by number of training tracks", charts.precision_by_frequency(found.per_label)
    )
    return Chapter("Ranking", "How well tracks are ranked, independently of thresholds.", [[curves, by_frequency]])


def _thresholds(found: Evaluation) -> Chapter:
    curves = charts.threshold_curves(found.thresholds, found.tracks.metrics, found.common_threshold)
    reliability = charts.reliability_diagram(found.reliability)
    rows: list[list[Picture | Table | Cards]] = [
        [Picture("F1 by common threshold", curves), Picture("reliability diagram", reliability)]
    ]
    if found.fixed:
        compared = [
            (NAMES[name], *_values(found.fixed, [name]), *_values(found.tracks.metrics, [name]), gain)
            for name, gain in found.gain.items()
        ]
        columns = ("", "uncalibrated, threshold 0.5", "calibrated, own thresholds", "difference")
        rows.append([Table("effect of calibration and thresholds", columns, compared)])
    return Chapter(
        "Thresholds and calibration",
        f"Expected calibration error {found.tracks.metrics.ece:.3f} over all decisions, in 15 bins of equal width.",
        rows,
    )


def _albums(found: Evaluation) -> Chapter:
    rows = [
        (way + " (in use)" * (way == found.aggregation), *_values(metrics))
        for way, metrics in found.aggregations.items()
    ]
    return Chapter(
        "Albums",
        "Labels belong to albums, so the predictions of an album's tracks are combined. All rows use the thresholds of "
        "tracks.",
        [[Table("from tracks to albums", ("", *_COLUMNS), rows)]],
    )


def _confusion(found: Evaluation) -> list[Chapter]:
    rows: list[list[Picture | Table | Cards]] = []
    if found.confused:
        cells = [(one.predicted, one.missed, one.tracks, f"{one.lift:.1f}") for one in found.confused]
        rows.append(
            [Table("predicted in place of another label", ("predicted", "true, missed", "tracks", "lift"), cells)]
        )
    if len(found.error_map.labels) >= _MIN_MAPPED:
        drawn = lift_map("Errors on the same tracks; grey: never", found.error_map.labels, found.error_map.lift)
        rows.append([Picture("co-occurrence of errors", drawn)])
    explanation = (
        "Which labels are mistaken for which, and which are wrong on the same tracks. Lift is the observed number of "
        "tracks divided by the number expected if the errors were independent."
    )
    return [Chapter("Confusion", explanation, rows)] if rows else []


def _listening(found: Evaluation, path: Path, audio_roots: AudioRoots | Path | None) -> list[Chapter]:
    kinds = {"wrong": "Predicted, but not among the labels", "missed": "Missed"}
    rows = [
        [Cards(cards, heading)]
        for kind, heading in kinds.items()
        if (cards := [_error(one, path, audio_roots) for one in found.worst if one.kind == kind])
    ]
    explanation = (
        "The most confident errors. Sometimes the label is wrong, or it applies to another track of the album only."
    )
    return [Chapter("Listen", explanation, rows)] if rows else []


def _error(error: WorstError, path: Path, audio_roots: AudioRoots | Path | None) -> Card:
    sign = ">" if error.kind == "wrong" else "≤"
    return Card(
        error.label,
        f"{error.probability:.3f} {sign} {error.threshold:.3f}",
        [("true", _few(error.true)), ("predicted", _few(error.predicted))],
        file=printable(error.track_id),
        audio=None if audio_roots is None else audio_address(audio_roots, error.track_id, path.parent),
    )


def _few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more or "nothing"


def _labels(found: Evaluation) -> Chapter:
    rows = [row for row in found.per_label.to_pylist() if row["average_precision"] is not None]
    title = f"all {len(rows)} labels, worst first"
    if len(rows) > _ALL:
        title = f"the {_WORST} worst and the {_BEST} best of {len(rows)} labels"
        rows = [*rows[:_WORST], *rows[-_BEST:]]
    columns = ("label", "band", "training", "test", "predicted", "AP", "lift", "P", "R", "F1", "ROC-AUC", "threshold")
    shown = [
        (
            *(row[name] for name in ("label", "band", "train_positives", "test_positives", "predicted")),
            f"{row['average_precision']:.3f}",
            f"{row['lift']:.1f}",
            *(f"{row[name]:.2f}" for name in ("precision", "recall", "f1", "roc_auc", "threshold")),
        )
        for row in rows
    ]
    return Chapter(
        "Labels",
        "The columns training, test and predicted count tracks. Lift is average precision divided by that of a random "
        "ranking. per_label.parquet holds all labels.",
        [[Table(title, columns, shown)]],
    )
