"""Diagnosis of common issues, with evidence and remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eno.evaluation.metrics import calibration_errors
from eno.models.average_precision import average_precision_and_auc, has_both_classes

_UNDER_FITTING = 0.4  # training mAP as a share of the way from chance to 1; training tracks can be ranked much better
_SMALL_GAP, _LARGE_GAP = 0.1, 0.2  # between mAP in training and on other tracks
_ECE = 0.05
_RATIO = 1.5  # of mean probability to observed frequency, or the inverse
_NAMED = 8
_SMALLEST = 1e-7


@dataclass(frozen=True)
class _Remedies:
    """What to change in one kind of model; empty where it has no setting for that."""

    under_fitting: str
    over_fitting: str
    rare_labels: str = ""
    constant: str = ""


_REMEDIES = {
    "mlp": _Remedies(
        "a larger head or longer training (--set mlp.hidden=[1024,1024], --set mlp.max_epochs=200), less "
        "regularisation (--set mlp.dropout=0)",
        "more regularisation (--set mlp.dropout=0.7, --set mlp.weight_decay=0.1, --set mlp.mixup=0.2), a smaller head "
        "(--head linear)",
        "class weights (--set mlp.class_weights=balanced), another loss (--set mlp.loss=focal)",
        "another seed or a lower learning rate (--set mlp.learning_rate=0.0003)",
    ),
    "lightgbm": _Remedies(
        "more or larger trees (--set lightgbm.rounds=500, --set lightgbm.num_leaves=31)",
        "smaller trees (--set lightgbm.num_leaves=4, --set lightgbm.min_data_in_leaf=50), a smaller head "
        "(--head linear)",
    ),
    "linear": _Remedies("a larger head (--head mlp)", "stronger penalties (--set linear.l2=[10,1,0.1])"),
    "knn": _Remedies("a larger head (--head mlp)", "more neighbours (--set knn.k=[50,100])"),
    "simple_cnn": _Remedies(
        "longer training (scripts/train.py --epochs=200)",
        "augmentation (scripts/train.py --spec_augment --mixup=0.2)",
        "class weights (scripts/train.py --class_weights=balanced), another loss (scripts/train.py --loss=focal)",
        "another seed or a lower learning rate (scripts/train.py --learning_rate=0.0003)",
    ),
}
_OTHER = _Remedies("a larger head (--head mlp)", "a smaller head (--head linear)")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels of some tracks, positive above 0, and probabilities, calibrated if the predictor is [shape=(n, k)]."""

    truth: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Finding:
    """Result of a check for one issue.

    Attributes
    ----------
    found : bool or None
        None if it could not be checked.
    remedy : str
        What to try; empty unless the issue was found.
    """

    issue: str
    found: bool | None
    evidence: str
    remedy: str = ""


def diagnose(
    labels: Sequence[str],
    test: Predictions,
    *,
    thresholds: np.ndarray,
    train_positives: np.ndarray,
    train: Predictions | None = None,
    val: Predictions | None = None,
    head: str = "mlp",
    calibration: str = "platt",
) -> list[Finding]:
    """Check for common issues of multi-label training, and return the result of every check.

    Parameters
    ----------
    test, train, val : Predictions
        For test, training and validation tracks. Without `val`, training is compared with `test`.
    thresholds : np.ndarray [shape=(k,)]
        A label is predicted if its probability is strictly above.
    train_positives : np.ndarray [shape=(k,)]
        Number of training tracks with each label.
    head, calibration : str
        Name of the head and method of calibration, to suggest settings that this predictor has.
    """
    held_out, name = (test, "test") if val is None else (val, "validation")
    remedies = _REMEDIES.get(head, _OTHER)
    return [
        *_fit(train, held_out, name, remedies),
        _never_predicted(labels, test, thresholds, train_positives, remedies),
        _untested(labels, test),
        _constant(labels, test, remedies),
        _calibration(test, calibration),
    ]


def _fit(train: Predictions | None, held_out: Predictions, name: str, remedies: _Remedies) -> list[Finding]:
    issues = ("under-fitting", "over-fitting")
    if train is None:
        return [Finding(issue, None, "there are no predictions for training tracks") for issue in issues]
    both = has_both_classes(train.truth) & has_both_classes(held_out.truth)
    if not both.any():
        evidence = f"no label has both positives and negatives in training and in {name}"
        return [Finding(issue, None, evidence) for issue in issues]
    (train_map, train_loss), (other_map, other_loss) = (_quality(one, both) for one in (train, held_out))
    chance = float((held_out.truth[:, both] > 0).mean())
    gap = train_map - other_map
    evidence = (
        f"mAP is {train_map:.3f} in training and {other_map:.3f} in {name} ({chance:.3f} for a random ranking); "
        f"log-loss is {train_loss:.4f} and {other_loss:.4f}, over {both.sum()} labels"
    )
    under = (train_map - chance) / max(1 - chance, _SMALLEST) < _UNDER_FITTING and gap < _SMALL_GAP
    larger = f"{remedies.under_fitting}, or another encoder (eno embed --encoder …)"
    smaller = f"{remedies.over_fitting}, or more albums"
    return [_finding(issues[0], under, evidence, larger), _finding(issues[1], gap > _LARGE_GAP, evidence, smaller)]


def _quality(part: Predictions, labels: np.ndarray) -> tuple[float, float]:
    """Return macro mAP and mean binary cross-entropy."""
    y, p = part.truth[:, labels] > 0, part.probabilities[:, labels]
    of_truth = np.clip(np.where(y, p, 1 - p), _SMALLEST, 1)
    return float(average_precision_and_auc(y, p)[0].mean()), float(-np.log(of_truth).mean(dtype=np.float64))


def _never_predicted(
    labels: Sequence[str], test: Predictions, thresholds: np.ndarray, train_positives: np.ndarray, remedies: _Remedies
) -> Finding:
    present = (test.truth > 0).any(axis=0)
    never = present & ~(test.probabilities > thresholds).any(axis=0)
    issue = "class imbalance"
    if not never.any():
        return Finding(issue, False, f"each of the {present.sum()} labels with test tracks is predicted for some track")
    counts = np.asarray(train_positives)
    order = np.flatnonzero(never)[np.argsort(counts[never], kind="stable")].tolist()
    evidence = (
        f"{never.sum()} of {present.sum()} labels with test tracks are never predicted; the median number of their "
        f"training tracks is {np.median(counts[never]):g}"
    )
    if (others := present & ~never).any():
        evidence += f", that of the other labels {np.median(counts[others]):g}"
    evidence += ": " + _named([f"{labels[i]} ({counts[i]})" for i in order])
    return Finding(
        issue,
        True,
        evidence,
        f"{remedies.rare_labels}{', ' if remedies.rare_labels else ''}thresholds by label (--set "
        "calibration.rule=scut), or fewer rare labels (eno labels --set labels.min_albums=…)",
    )


def _untested(labels: Sequence[str], test: Predictions) -> Finding:
    missing = np.flatnonzero(~(test.truth > 0).any(axis=0)).tolist()
    issue = "labels without test tracks"
    if len(missing) == 0:
        return Finding(issue, False, f"all {len(labels)} labels have test tracks")
    return Finding(
        issue,
        True,
        f"{len(missing)} of {len(labels)} labels have no test tracks and could not be evaluated: "
        + _named([labels[i] for i in missing]),
        "a larger test split (eno split --set split.test=0.25), or only labels with more artists (eno labels --set "
        "labels.min_artists=…)",
    )


def _constant(labels: Sequence[str], test: Predictions, remedies: _Remedies) -> Finding:
    same = np.flatnonzero(np.ptp(test.probabilities, axis=0) == 0).tolist() if len(test.truth) > 1 else []
    issue = "constant predictions"
    if len(same) == 0:
        return Finding(issue, False, "no label has the same probability on all test tracks")
    return Finding(
        issue,
        True,
        f"{len(same)} of {len(labels)} labels have the same probability on every test track: "
        + _named([labels[i] for i in same]),
        f"if all labels are affected: {remedies.constant}{', and ' if remedies.constant else ''}eno store verify; if "
        "only a few are: they may have had only positives or only negatives in training",
    )


def _calibration(test: Predictions, method: str) -> Finding:
    issue, usable = "miscalibration", has_both_classes(test.truth)
    y, p = test.truth[:, usable] > 0, test.probabilities[:, usable]
    if y.size == 0:
        return Finding(issue, None, "no label has both positives and negatives among the test tracks")
    error, predicted, observed = calibration_errors(y, p)[0], float(p.mean(dtype=np.float64)), float(y.mean())
    found = error > _ECE or not 1 / _RATIO < predicted / observed < _RATIO
    return _finding(
        issue,
        found,
        f"the expected calibration error is {error:.3f}; the mean probability of a label is {predicted:.1%}, and "
        f"{observed:.1%} of labels are true",
        "calibration on more validation tracks (eno split --set split.val=0.25)"
        + ("" if method == "platt" else ", or another method (--set calibration.method=platt)"),
    )


def _finding(issue: str, found: bool, evidence: str, remedy: str) -> Finding:
    return Finding(issue, found, evidence, remedy if found else "")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
