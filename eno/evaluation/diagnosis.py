"""Diagnosis of common issues, with evidence and remedies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from eno.evaluation.confidence import Interval
from eno.evaluation.metrics import BINS, calibration_errors, reliability
from eno.evaluation.remedies import REMEDIES, Remedies
from eno.models.average_precision import average_precision_and_auc, has_both_classes
from eno.models.calibration.scaling import METHODS

_UNDER_FITTING = 0.4  # training mAP as a share of the way from chance to 1; training tracks can be ranked much better
_SMALL_GAP, _LARGE_GAP = 0.1, 0.2  # between mAP in training and on test tracks
_MEMORISED = 0.95  # training mAP
_ECE = 0.05
_RATIO = 1.5  # of mean probability to observed frequency, or the inverse
_ENOUGH = 5  # artists of a label; that tracks of fewer are all missed may be chance
_P = 0.05  # a contrast that chance produces less often counts
_FLIPS = 999  # random signs; five artists have only 32 combinations, of which two are as extreme as the observed one
_FEWEST = 6
_RULE, _BY_LABEL = "expected", "scut"  # the default rule for thresholds, and the one that fits each label alone
_NAMED = 8
_SMALLEST = 1e-7


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels of some tracks, positive above 0, and probabilities, calibrated if the predictor is [shape=(n, k)].

    `known` says which labels are known [shape=(n, k), dtype=bool]; by default all are.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    known: np.ndarray | None = None

    @property
    def both_classes(self) -> np.ndarray:
        """Which labels have positives and negatives [shape=(k,), dtype=bool]."""
        return has_both_classes(self.truth, self.known)

    def known_of(self, labels: np.ndarray) -> np.ndarray:
        """Return which values of some labels are known."""
        return np.broadcast_to(np.True_ if self.known is None else self.known, self.truth.shape)[:, labels]

    def of_label(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where a label is present, and its probabilities, in the rows in which it is known."""
        rows = slice(None) if self.known is None else self.known[:, label]
        return self.truth[rows, label] > 0, self.probabilities[rows, label]


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
    groups: Sequence[str] | np.ndarray,
    thresholds: np.ndarray,
    train_positives: np.ndarray,
    train: Predictions | None = None,
    test_map: Interval | None = None,
    head: str = "mlp",
    calibration: Mapping[str, Any] = MappingProxyType({}),
) -> list[Finding]:
    """Check for common issues of multi-label training, and return the result of every check.

    An issue is found if a contrast is measured that is larger than chance would produce with so few artists.

    Parameters
    ----------
    test, train : Predictions
        For test and training tracks.
    groups : sequence of str [length=n]
        Artist of each test track.
    thresholds : np.ndarray [shape=(k,)]
        A label is predicted if its probability is strictly above.
    train_positives : np.ndarray [shape=(k,)]
        Number of training tracks with each label.
    test_map : Interval, optional
        Macro mAP of the test tracks with its confidence interval.
    head, calibration : str, mapping
        Name of the head, and ``method`` and ``rule`` of the calibration, to suggest settings that this predictor has.
    """
    remedies = REMEDIES.get(head, Remedies())
    counts = np.asarray(train_positives)
    enough = _on_enough_artists(test, np.asarray(groups)) & (counts > 0)
    never = enough & ~(test.probabilities > thresholds).any(axis=0)
    return [
        *_fit(train, test, test_map, remedies, head),
        _unpredicted(labels, test, never, int(enough.sum()), counts, calibration.get("rule", _RULE)),
        _imbalance(labels, test, never, counts, remedies),
        _untrained(labels, test, counts),
        _untested(labels, test),
        _constant(labels, test, counts, remedies),
        _calibration(test, np.asarray(groups), calibration.get("method", METHODS[0])),
    ]


def _fit(
    train: Predictions | None, test: Predictions, test_map: Interval | None, remedies: Remedies, head: str
) -> list[Finding]:
    issues = ("under-fitting", "over-fitting")
    if train is None:
        return [Finding(issue, None, "there are no predictions for training tracks") for issue in issues]
    both = train.both_classes & test.both_classes
    if not both.any():
        evidence = "no label has both positives and negatives in training and in test"
        return [Finding(issue, None, evidence) for issue in issues]
    (train_map, train_loss), (other_map, other_loss) = (_quality(one, both) for one in (train, test))
    chance, other_chance = (float((one.truth[:, both] > 0)[one.known_of(both)].mean()) for one in (train, test))
    gap = train_map - other_map
    evidence = (
        f"mAP is {train_map:.3f} in training and {other_map:.3f} in test ({chance:.3f} and {other_chance:.3f} for a "
        f"random ranking); log-loss is {train_loss:.4f} and {other_loss:.4f}, over {both.sum()} labels"
    )
    under = (train_map - chance) / max(1 - chance, _SMALLEST) < _UNDER_FITTING and gap < _SMALL_GAP
    larger = _any_of(remedies.under_fitting, "another encoder (eno embed --encoder …)")
    found = [_finding(issues[0], under, evidence, larger)]
    if gap > _LARGE_GAP and remedies.memorises and train_map > _MEMORISED:
        evidence += f"; the head {head} always ranks its own training tracks almost perfectly"
        return [*found, Finding(issues[1], None, evidence)]
    if gap > _LARGE_GAP and test_map is not None and not train_map > test_map.high:
        evidence += "; the test tracks are by too few artists to tell whether this is chance"
        return [*found, Finding(issues[1], None, evidence)]
    return [*found, _finding(issues[1], gap > _LARGE_GAP, evidence, _any_of(remedies.over_fitting, "more albums"))]


def _any_of(*remedies: str) -> str:
    known = [one for one in remedies if one]
    return ", or ".join(known)


def _quality(part: Predictions, labels: np.ndarray) -> tuple[float, float]:
    """Return macro mAP and mean binary cross-entropy."""
    chosen, loss, decisions = np.flatnonzero(labels), 0.0, 0
    for label in chosen.tolist():
        y, p = part.of_label(label)
        loss -= float(np.log(np.clip(np.where(y, p, 1 - p), _SMALLEST, 1)).sum(dtype=np.float64))
        decisions += len(y)
    precisions, _ = average_precision_and_auc(part.truth, part.probabilities, part.known, chosen)
    return float(precisions.mean()), loss / decisions


def _on_enough_artists(test: Predictions, groups: np.ndarray) -> np.ndarray:
    """Return which labels are on test tracks of several artists [shape=(k,)]."""
    names, owner = np.unique(groups, return_inverse=True)
    rows, columns = np.nonzero(test.truth > 0)
    owned = np.zeros((len(names), test.truth.shape[1]), bool)
    owned[owner[rows], columns] = True
    enough: np.ndarray = owned.sum(axis=0) >= _ENOUGH
    return enough


def _unpredicted(
    labels: Sequence[str], test: Predictions, never: np.ndarray, enough: int, counts: np.ndarray, rule: str
) -> Finding:
    issue, checked = "labels that are never predicted", f"{enough} labels on test tracks of {_ENOUGH} or more artists"
    if not never.any():
        return Finding(issue, False, f"none of the {checked}")
    truth, known = test.truth[:, never] > 0, test.known_of(never)
    precision = average_precision_and_auc(test.truth, test.probabilities, test.known, np.flatnonzero(never))[0]
    chance = (truth & known).sum(axis=0) / known.sum(axis=0)
    order = np.flatnonzero(never)[np.argsort(counts[never], kind="stable")].tolist()
    return Finding(
        issue,
        True,
        f"{never.sum()} of the {checked}; their mean average precision is {precision.mean():.3f} ({chance.mean():.3f} "
        "for a random ranking): " + _named([f"{labels[i]} ({counts[i]} training tracks)" for i in order]),
        _any_of(
            "" if rule == _BY_LABEL else f"thresholds by label (--set calibration.rule={_BY_LABEL})", "more albums"
        ),
    )


def _imbalance(
    labels: Sequence[str], test: Predictions, never: np.ndarray, counts: np.ndarray, remedies: Remedies
) -> Finding:
    issue = "class imbalance"
    others = (test.truth > 0).any(axis=0) & (counts > 0) & ~never
    if not never.any() or not others.any():
        compare = "others" if never.any() else "labels that are never predicted"
        return Finding(issue, False, f"there are no {compare} whose numbers of training tracks could be compared")
    rarer = mannwhitneyu(counts[never], counts[others], alternative="less").pvalue
    return _finding(
        issue,
        bool(rarer < _P and np.median(counts[never]) < np.median(counts[others])),
        f"labels that are never predicted have {np.median(counts[never]):g} training tracks (median of {never.sum()}), "
        f"others {np.median(counts[others]):g} (median of {others.sum()}; p = {rarer:.2g})",
        _any_of(remedies.rare_labels, "fewer rare labels (eno labels --set labels.min_albums=…)"),
    )


def _untrained(labels: Sequence[str], test: Predictions, counts: np.ndarray) -> Finding:
    missing = np.flatnonzero((counts == 0) & (test.truth > 0).any(axis=0)).tolist()
    issue = "labels without training tracks"
    if len(missing) == 0:
        return Finding(issue, False, "all labels with test tracks have training tracks")
    return Finding(
        issue,
        True,
        f"{len(missing)} of {len(labels)} labels have test tracks, but no training tracks: "
        + _named([labels[i] for i in missing]),
        "other splits (eno split --set split.seed=1), or only labels with more artists (eno labels --set "
        "labels.min_artists=…)",
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


def _constant(labels: Sequence[str], test: Predictions, counts: np.ndarray, remedies: Remedies) -> Finding:
    learned = np.flatnonzero(counts > 0)
    issue = "constant predictions"
    if len(test.truth) < 2 or len(learned) == 0:
        return Finding(issue, None, "there are no two test tracks, or no label has training tracks")
    same = learned[np.ptp(test.probabilities, axis=0)[learned] == 0].tolist()
    if len(same) == 0:
        return Finding(issue, False, "no label with training tracks has the same probability on all test tracks")
    store, rarer = "a check of the store (eno store verify)", "fewer rare labels (eno labels --set labels.min_albums=…)"
    return Finding(
        issue,
        True,
        f"{len(same)} of {len(learned)} labels with training tracks have the same probability on every test track: "
        + _named([f"{labels[i]} ({counts[i]} training tracks)" for i in same]),
        _any_of(remedies.constant, store) if len(same) == len(learned) else rarer,
    )


def _calibration(test: Predictions, groups: np.ndarray, method: str) -> Finding:
    issue, usable = "miscalibration", np.flatnonzero(test.both_classes)
    if len(usable) == 0:
        return Finding(issue, None, "no label has both positives and negatives among the test tracks")
    error = calibration_errors(test.truth, test.probabilities, test.known, usable)[0]
    decisions, predicted, observed = (
        float(one.sum()) for one in reliability(test.truth, test.probabilities, test.known, usable)
    )
    predicted, observed = predicted / decisions, observed / decisions
    evidence = (
        f"the expected calibration error is {error:.3f}; the mean probability of a label is {predicted:.1%}, and "
        f"{observed:.1%} of labels are true"
    )
    shifted = not 1 / _RATIO < predicted / observed < _RATIO
    if not (error > _ECE or shifted):
        return Finding(issue, False, evidence)
    excess = _excess(test, usable, groups)
    if len(excess) < _FEWEST:
        return Finding(
            issue, None, f"{evidence}; the test tracks are by too few artists to tell whether this is chance"
        )
    chances = (
        _chance_of(excess, lambda sums: np.abs(sums).sum(axis=1)),
        _chance_of(excess, lambda sums: np.abs(sums.sum(axis=1))),
    )
    found = (error > _ECE and chances[0] < _P) or (shifted and chances[1] < _P)
    others = [f"--set calibration.method={one}" for one in METHODS if one not in (method, "none")]
    return _finding(
        issue,
        found,
        evidence + "; chance would produce this too" * (not found),
        _any_of(f"another method of calibration ({', '.join(others)})", "more albums"),
    )


def _excess(test: Predictions, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return by how much probabilities exceed labels, summed by artist and bin of probabilities [shape=(g, BINS)]."""
    names, owner = np.unique(groups, return_inverse=True)
    sums = np.zeros(len(names) * BINS)
    for label in labels.tolist():
        y, p = test.of_label(label)
        owners = owner if test.known is None else owner[test.known[:, label]]
        places = owners * BINS + np.minimum((p * BINS).astype(np.int64), BINS - 1)
        sums += np.bincount(places, p - y, minlength=len(sums))
    return sums.reshape(len(names), BINS)


def _chance_of(excess: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return how often a statistic of the sums over artists is as large if the sign of each artist is random."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (_FLIPS, len(excess)))
    drawn = statistic(signs @ excess) >= statistic(excess.sum(axis=0, keepdims=True)) - _SMALLEST
    return float((1 + drawn.sum()) / (1 + _FLIPS))


def _finding(issue: str, found: bool, evidence: str, remedy: str) -> Finding:
    return Finding(issue, found, evidence, remedy if found else "")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
