"""What is wrong with a model, with its evidence and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eno.evaluation.metrics import calibration_errors
from eno.models.average_precision import average_precision_and_auc, has_both_classes

_POOR = 0.4  # of the way from chance to a perfect mAP: what is learned from may be ranked much better
_SAME, _FAR = 0.1, 0.2  # mAP of training and of other tracks differ by less, or by more
_ECE = 0.05
_RATIO = 1.5  # labels are promised so many times as often as they are there, or the other way round
_NAMED = 8
_SMALLEST = 1e-7


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was predicted for some tracks, and what is true of them.

    Attributes
    ----------
    truth : np.ndarray [shape=(n, k)]
        Labels; what is above 0 counts.
    probabilities : np.ndarray [shape=(n, k)]
        As the predictor gives them.
    """

    truth: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Finding:
    """One of the common issues.

    Attributes
    ----------
    issue : str
        Its name.
    found : bool or None
        Whether it is there; None where that cannot be told.
    evidence : str
        The figures that say so.
    remedy : str
        What to try; empty where nothing was found.
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
) -> list[Finding]:
    """Look for the common issues of multi-label training.

    Parameters
    ----------
    labels : sequence of str [length=k]
        Their names.
    test : Predictions
        Held-out tracks.
    thresholds : np.ndarray [shape=(k,)]
        A label is predicted where its probability is strictly above.
    train_positives : np.ndarray [shape=(k,)]
        Training tracks that have each label.
    train, val : Predictions, optional
        Tracks that were learned from, and those that were chosen by. Without `val` training is compared with `test`.

    Returns
    -------
    list of Finding
        Every issue, whether it was found or not: under-fitting, over-fitting, class imbalance, labels without test
        tracks, constant predictions, mis-calibration.
    """
    held_out, name = (test, "test") if val is None else (val, "validation")
    return [
        *_fit(train, held_out, name),
        _never_predicted(labels, test, thresholds, train_positives),
        _untested(labels, test),
        _constant(labels, test),
        _calibration(test),
    ]


def _fit(train: Predictions | None, held_out: Predictions, name: str) -> list[Finding]:
    issues = ("under-fitting", "over-fitting")
    if train is None:
        return [Finding(issue, None, "no predictions for the training tracks were given") for issue in issues]
    both = has_both_classes(train.truth) & has_both_classes(held_out.truth)
    if not both.any():
        return [Finding(issue, None, f"no label can be judged in training and in {name}") for issue in issues]
    learned, other = (_quality(one, both) for one in (train, held_out))
    chance = float((held_out.truth[:, both] > 0).mean())
    gap = learned[0] - other[0]
    evidence = (
        f"mAP {learned[0]:.3f} in training and {other[0]:.3f} in {name} ({chance:.3f} by chance); "
        f"loss {learned[1]:.4f} and {other[1]:.4f}, over {both.sum()} labels"
    )
    under = (learned[0] - chance) / max(1 - chance, _SMALLEST) < _POOR and gap < _SAME
    return [
        Finding(
            issues[0],
            under,
            evidence,
            "a larger head or longer training (--set mlp.hidden=[1024,1024], --set mlp.max_epochs=200), less "
            "regularisation (--set mlp.dropout=0), or vectors of another encoder (eno embed --encoder …)"
            if under
            else "",
        ),
        Finding(
            issues[1],
            gap > _FAR,
            evidence,
            "more regularisation (--set mlp.dropout=0.5, --set mlp.weight_decay=0.01, --set mlp.mixup=0.2, --set "
            "lightgbm.num_leaves=7), a smaller head (--head linear), or more albums"
            if gap > _FAR
            else "",
        ),
    ]


def _quality(part: Predictions, labels: np.ndarray) -> tuple[float, float]:
    """Macro mAP, and the mean binary cross-entropy."""
    y, p = part.truth[:, labels] > 0, part.probabilities[:, labels]
    of_truth = np.clip(np.where(y, p, 1 - p), _SMALLEST, 1)
    return float(average_precision_and_auc(y, p)[0].mean()), float(-np.log(of_truth).mean(dtype=np.float64))


def _never_predicted(
    labels: Sequence[str], test: Predictions, thresholds: np.ndarray, train_positives: np.ndarray
) -> Finding:
    present = (test.truth > 0).any(axis=0)
    never = present & ~(test.probabilities > thresholds).any(axis=0)
    issue = "class imbalance"
    if not never.any():
        return Finding(issue, False, f"each of the {present.sum()} labels of test tracks is predicted for some track")
    counts = np.asarray(train_positives)
    order = np.flatnonzero(never)[np.argsort(counts[never], kind="stable")].tolist()
    evidence = (
        f"{never.sum()} of {present.sum()} labels are on test tracks and never predicted; the median of their training "
        f"tracks is {np.median(counts[never]):g}"
    )
    if (others := present & ~never).any():
        evidence += f", of the other labels {np.median(counts[others]):g}"
    evidence += ": " + _named([f"{labels[i]} ({counts[i]})" for i in order])
    return Finding(
        issue,
        True,
        evidence,
        "weights for rare labels (--set mlp.class_weights=balanced), another loss (--set mlp.loss=focal), thresholds "
        "label by label (--set calibration.rule=scut), or fewer rare labels (eno labels --set labels.min_albums=…)",
    )


def _untested(labels: Sequence[str], test: Predictions) -> Finding:
    missing = np.flatnonzero(~(test.truth > 0).any(axis=0)).tolist()
    issue = "labels without test tracks"
    if len(missing) == 0:
        return Finding(issue, False, f"all {len(labels)} labels are on test tracks")
    return Finding(
        issue,
        True,
        f"{len(missing)} of {len(labels)} labels are on no test track, so nothing here says how good they are: "
        + _named([labels[i] for i in missing]),
        "a larger test part (eno split --set split.test=0.25), or labels of more artists only (eno labels --set "
        "labels.min_artists=…)",
    )


def _constant(labels: Sequence[str], test: Predictions) -> Finding:
    same = np.flatnonzero(np.ptp(test.probabilities, axis=0) == 0).tolist() if len(test.truth) > 1 else []
    issue = "constant predictions"
    if len(same) == 0:
        return Finding(issue, False, "every label has different probabilities on different tracks")
    return Finding(
        issue,
        True,
        f"{len(same)} of {len(labels)} labels have the same probability on every test track: "
        + _named([labels[i] for i in same]),
        "if all labels: another seed or a lower rate (--set mlp.learning_rate=0.0003), and a look at the vectors (eno "
        "store verify); if a few: these were on all training tracks or on none",
    )


def _calibration(test: Predictions) -> Finding:
    judged = has_both_classes(test.truth)
    y, p = test.truth[:, judged] > 0, test.probabilities[:, judged]
    if y.size == 0:
        return Finding("mis-calibration", None, "no label has positives and negatives among the test tracks")
    error, promised, found = calibration_errors(y, p)[0], float(p.mean(dtype=np.float64)), float(y.mean())
    wrong = error > _ECE or not 1 / _RATIO < promised / found < _RATIO
    return Finding(
        "mis-calibration",
        wrong,
        f"expected calibration error {error:.3f}; labels are promised with {promised:.1%} on average, and "
        f"{found:.1%} are true",
        "calibration on more validation tracks (eno split --set split.val=0.25, --set calibration.method=platt)"
        if wrong
        else "",
    )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
