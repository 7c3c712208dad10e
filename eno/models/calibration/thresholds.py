"""From probabilities to decisions: where a label begins.

References
----------
SCut, PCut: Y. Yang, "A study of thresholding strategies for text categorization", SIGIR 2001. Joint micro and macro F1:
L.-C. Lin and C.-J. Lin, CIKM 2023. Expected F1: Z. C. Lipton, C. Elkan and B. Naryanaswamy, "Optimal thresholding of
classifiers to maximize F1 measure", ECML PKDD 2014.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

NEVER = 1.0
"""The threshold of a label that is never predicted: no probability is above it."""

_GRID = 512  # thresholds that `global` tries at most
_PASSES = 10  # over all labels; two or three are the rule


class Scores:
    """Probabilities of every label in ascending order, and those of its positives.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(k, n)]
        A row a label.
    truth : scipy.sparse.csr_array [shape=(k, n)]
        The stored entries are the positives.
    """

    def __init__(self, probabilities: np.ndarray, truth: sparse.csr_array) -> None:
        self.ranked = np.sort(probabilities, axis=1)
        bounds = zip(truth.indptr[:-1], truth.indptr[1:], strict=True)
        self.positives = [
            np.sort(row[truth.indices[first:last]]) for row, (first, last) in zip(probabilities, bounds, strict=True)
        ]
        self.counts = np.diff(truth.indptr)

    @cached_property
    def curves(self) -> list[Curve]:
        """For each label what the thresholds that are worth a look would decide."""
        return [self._curve(label) for label in range(len(self.ranked))]

    def _curve(self, label: int) -> Curve:
        ranked, positives = self.ranked[label], self.positives[label]
        # Nothing is gained by letting negatives in: the best thresholds lie just below a positive.
        found = np.unique(positives[positives > 0])[::-1]
        first = np.searchsorted(ranked, found, side="left")
        below = np.where(first > 0, ranked[np.maximum(first - 1, 0)], 0)
        return Curve(
            thresholds=np.append(NEVER, (found.astype(np.float64) + below) / 2),
            hits=np.append(0, len(positives) - np.searchsorted(positives, found, side="left")),
            predicted=np.append(0, len(ranked) - first),
            positives=len(positives),
        )


@dataclass(frozen=True)
class Curve:
    """What thresholds decide, for one label; from nothing to all that pays.

    Attributes
    ----------
    thresholds : np.ndarray [shape=(m,), dtype=float64]
        Descending, midpoints between probabilities; nothing is above the first.
    hits, predicted : np.ndarray [shape=(m,)]
        Positives above each, and rows above each.
    positives : float
        How many there are, or are expected.
    """

    thresholds: np.ndarray
    hits: np.ndarray
    predicted: np.ndarray
    positives: float

    @property
    def f1(self) -> np.ndarray:
        """F1 at each threshold."""
        result: np.ndarray = 2 * self.hits / np.maximum(self.predicted + self.positives, 1e-12)
        return result


def _fixed(scores: Scores) -> np.ndarray:
    return np.full(len(scores.ranked), 0.5)


def _global(scores: Scores) -> np.ndarray:
    """One threshold for all labels: that of the highest sum of micro and macro F1."""
    found = np.concatenate(scores.positives)
    grid = np.unique(np.quantile(found, np.linspace(0, 1, _GRID), method="lower"))
    below, (hits, predicted) = np.zeros(len(grid)), np.zeros((2, len(scores.ranked), len(grid)))
    for label, (ranked, positives) in enumerate(zip(scores.ranked, scores.positives, strict=True)):
        first = np.searchsorted(ranked, grid, side="left")
        below = np.maximum(below, np.where(first > 0, ranked[np.maximum(first - 1, 0)], 0))
        hits[label], predicted[label] = len(positives) - np.searchsorted(positives, grid), len(ranked) - first
    judged = scores.counts > 0
    macro = (2 * hits / np.maximum(predicted + scores.counts[:, np.newaxis], 1))[judged].mean(axis=0)
    micro = 2 * hits.sum(axis=0) / (predicted.sum(axis=0) + scores.counts.sum())
    best = np.argmax(macro + micro)
    return np.full(len(scores.ranked), (float(grid[best]) + float(below[best])) / 2)


def _scut(scores: Scores) -> np.ndarray:
    """For each label the threshold of its highest F1."""
    return np.array([curve.thresholds[np.argmax(curve.f1)] for curve in scores.curves])


def _pcut(scores: Scores) -> np.ndarray:
    """For each label the threshold that predicts it as often as it is there."""
    rows = scores.ranked.shape[1]
    result = np.full(len(scores.ranked), NEVER)
    for label, (ranked, count) in enumerate(zip(scores.ranked, scores.counts, strict=True)):
        if count:
            first = rows - count
            result[label] = (float(ranked[first]) + (float(ranked[first - 1]) if first else 0)) / 2
    return result


def _micromacro(scores: Scores) -> np.ndarray:
    """Thresholds of the highest sum of micro and macro F1."""
    return _climb(lambda label: scores.curves[label], scores.counts)


def _expected(scores: Scores) -> np.ndarray:
    """Thresholds of the highest sum of micro and macro F1 that the calibrated probabilities promise."""
    promised = scores.ranked.sum(axis=1, dtype=np.float64)
    predicted = np.arange(scores.ranked.shape[1] + 1)

    def curve(label: int) -> Curve:
        falling = scores.ranked[label, ::-1].astype(np.float64)
        return Curve(
            thresholds=(np.append(falling[0], falling) + np.append(falling, 0)) / 2,
            hits=np.append(0, np.cumsum(falling)),
            predicted=predicted,
            positives=promised[label],
        )

    return _climb(curve, promised)


def _climb(curve_of: Callable[[int], Curve], counts: np.ndarray) -> np.ndarray:
    """From each label's highest F1 uphill to a sum of micro and macro F1 that no single threshold can raise.

    Parameters
    ----------
    curve_of : callable
        Takes the number of a label.
    counts : np.ndarray [shape=(k,)]
        Positives of each label: the most frequent moves first.
    """
    labels, total, judged = len(counts), counts.sum(), max(int((counts > 0).sum()), 1)
    chosen, hits, predicted, thresholds = np.zeros(labels, np.int64), *np.zeros((3, labels))

    def choose(label: int, curve: Curve, at: int) -> None:
        chosen[label], thresholds[label] = at, curve.thresholds[at]
        hits[label], predicted[label] = curve.hits[at], curve.predicted[at]

    for label in range(labels):
        curve = curve_of(label)
        choose(label, curve, int(np.argmax(curve.f1)))
    for _ in range(_PASSES):
        before = chosen.copy()
        for label in np.argsort(-counts, kind="stable").tolist():
            curve = curve_of(label)
            other_hits, other_predicted = hits.sum() - hits[label], predicted.sum() - predicted[label]
            micro = 2 * (other_hits + curve.hits) / np.maximum(other_predicted + curve.predicted + total, 1e-12)
            choose(label, curve, int(np.argmax(micro + curve.f1 / judged)))
        if (chosen == before).all():
            break
    return thresholds


def _expected_macro(scores: Scores) -> np.ndarray:
    """For each label the threshold of the highest F1 that its calibrated probabilities promise: half that F1."""
    result = np.empty(len(scores.ranked))
    sizes = np.arange(1, scores.ranked.shape[1] + 1)
    for label, ranked in enumerate(scores.ranked):
        hits = np.cumsum(ranked[::-1], dtype=np.float64)
        result[label] = (hits / (sizes + hits[-1])).max()
    return result


RULES: dict[str, Callable[[Scores], np.ndarray]] = {
    "expected": _expected,
    "expected_macro": _expected_macro,
    "micromacro": _micromacro,
    "scut": _scut,
    "pcut": _pcut,
    "global": _global,
    "fixed": _fixed,
}
"""Name → how it chooses thresholds."""

AVERAGED = ("scut", "micromacro")
"""Rules that go by single positives: the mean of their thresholds over parts of the rows is better than one of them."""

_BLIND = ("scut", "micromacro", "pcut")  # rules that know nothing of a label without positives


def choose_thresholds(rule: str, scores: Scores) -> np.ndarray:
    """Choose a threshold for every label.

    Parameters
    ----------
    rule : str
        One of `RULES`, see `eno.models.calibration.calibrate.fit_calibration`.
    scores : Scores
        Calibrated probabilities and labels.

    Returns
    -------
    np.ndarray [shape=(k,), dtype=float64]
        0 … 1; 0.5 for all where no label has a positive.
    """
    if not scores.counts.any():
        return _fixed(scores)
    thresholds = RULES[rule](scores)
    if rule in _BLIND and not scores.counts.all():
        thresholds = np.where(scores.counts > 0, thresholds, _global(scores))
    result: np.ndarray = np.clip(thresholds, 0, NEVER)
    return result


def raise_to_precision(scores: Scores, thresholds: np.ndarray, floor: float) -> np.ndarray:
    """Raise thresholds to where the share of right predictions is at least `floor`.

    Parameters
    ----------
    scores : Scores
        Calibrated probabilities of held-out rows, and labels.
    thresholds : np.ndarray [shape=(k,)]
        What is to be raised.
    floor : float
        0 … 1.

    Returns
    -------
    np.ndarray [shape=(k,), dtype=float64]
        The lowest that reach it, `NEVER` where none does.

    Notes
    -----
    The lowest of many thresholds that happen to reach a share would reach less on other rows. So the share must be
    believable: what counts is the lower end of its Wilson interval of one standard error. For 0.8 at least four
    predictions are needed, all of them right.
    """
    raised = np.full(len(thresholds), NEVER)
    for label, threshold in enumerate(thresholds.tolist()):
        curve = scores.curves[label]
        ranked, positives = scores.ranked[label], scores.positives[label]
        hits = np.append(curve.hits, len(positives) - np.searchsorted(positives, threshold, side="right"))
        predicted = np.append(curve.predicted, len(ranked) - np.searchsorted(ranked, threshold, side="right"))
        candidates = np.append(curve.thresholds, threshold)
        reached = (candidates >= threshold) & (_wilson_lower(hits, predicted) >= floor)
        if reached.any():
            raised[label] = candidates[reached].min()
    return raised


def _wilson_lower(hits: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    n = np.maximum(predicted, 1)
    share = hits / n
    lower: np.ndarray = (share + 1 / (2 * n) - np.sqrt(share * (1 - share) / n + 1 / (4 * n**2))) / (1 + 1 / n)
    return lower
