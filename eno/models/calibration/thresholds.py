"""Rules that choose a threshold for every label.

SCut, PCut: Y. Yang, "A study of thresholding strategies for text categorization", SIGIR 2001. Joint micro and macro F1:
L.-C. Lin and C.-J. Lin, CIKM 2023. Expected F1: Z. C. Lipton, C. Elkan and B. Naryanaswamy, "Optimal thresholding of
classifiers to maximize F1 measure", ECML PKDD 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from scipy import sparse

NEVER = 1.0
"""Threshold of a label that is never predicted: no probability is above it."""

_GRID = 512  # thresholds that "global" tries at most
_PASSES = 10  # over all labels; two or three usually suffice


class Scores:
    """Sorted probabilities of every label and of its positives, from arrays with one row per label.

    `probabilities` may come one label after the other. Of a label that is known [shape=(k, n), dtype=bool] in some
    rows, the others do not count.
    """

    def __init__(
        self, probabilities: Iterable[np.ndarray], truth: sparse.csr_array, known: np.ndarray | None = None
    ) -> None:
        self.ranked, self.positives = list[np.ndarray](), list[np.ndarray]()
        for label, row in enumerate(probabilities):
            self.ranked.append(np.sort(row if known is None or not known[label].any() else row[known[label]]))
            self.positives.append(np.sort(row[truth.indices[truth.indptr[label] : truth.indptr[label + 1]]]))
        self.counts = np.diff(truth.indptr)

    @cached_property
    def curves(self) -> list[Curve]:
        """The curve of each label, at the thresholds that can be optimal."""
        return [self._curve(label) for label in range(len(self.ranked))]

    def _curve(self, label: int) -> Curve:
        ranked, positives = self.ranked[label], self.positives[label]
        # Lowering a threshold past negatives alone never helps: the best thresholds lie just below a positive.
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
    """Predictions of one label at descending thresholds.

    Attributes
    ----------
    thresholds : np.ndarray [shape=(m,), dtype=float64]
        Midpoints between probabilities; no probability is above the first.
    hits, predicted : np.ndarray [shape=(m,)]
        True positives and predicted rows at each threshold; for "expected", their expectations.
    positives : float
        Number of positives, or its expectation.
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
    """One threshold for all labels, with the highest sum of micro and macro F1."""
    found = np.concatenate(scores.positives)
    grid = np.unique(np.quantile(found, np.linspace(0, 1, _GRID), method="lower"))
    below, (hits, predicted) = np.zeros(len(grid)), np.zeros((2, len(scores.ranked), len(grid)))
    for label, (ranked, positives) in enumerate(zip(scores.ranked, scores.positives, strict=True)):
        first = np.searchsorted(ranked, grid, side="left")
        below = np.maximum(below, np.where(first > 0, ranked[np.maximum(first - 1, 0)], 0))
        hits[label], predicted[label] = len(positives) - np.searchsorted(positives, grid), len(ranked) - first
    usable = scores.counts > 0
    macro = (2 * hits / np.maximum(predicted + scores.counts[:, np.newaxis], 1))[usable].mean(axis=0)
    micro = 2 * hits.sum(axis=0) / (predicted.sum(axis=0) + scores.counts.sum())
    best = np.argmax(macro + micro)
    return np.full(len(scores.ranked), (float(grid[best]) + float(below[best])) / 2)


def _scut(scores: Scores) -> np.ndarray:
    return np.array([curve.thresholds[np.argmax(curve.f1)] for curve in scores.curves])


def _pcut(scores: Scores) -> np.ndarray:
    result = np.full(len(scores.ranked), NEVER)
    for label, (ranked, count) in enumerate(zip(scores.ranked, scores.counts, strict=True)):
        if count:
            first = len(ranked) - count
            result[label] = (float(ranked[first]) + (float(ranked[first - 1]) if first else 0)) / 2
    return result


def _micromacro(scores: Scores) -> np.ndarray:
    return _climb(lambda label: scores.curves[label], scores.counts)


def _expected(scores: Scores) -> np.ndarray:
    expected = np.array([ranked.sum(dtype=np.float64) for ranked in scores.ranked])

    def curve(label: int) -> Curve:
        descending = scores.ranked[label][::-1].astype(np.float64)
        return Curve(
            thresholds=(np.append(descending[0], descending) + np.append(descending, 0)) / 2,
            hits=np.append(0, np.cumsum(descending)),
            predicted=np.arange(len(descending) + 1),
            positives=expected[label],
        )

    return _climb(curve, expected)


def _climb(curve_of: Callable[[int], Curve], counts: np.ndarray) -> np.ndarray:
    """Maximise the sum of micro and macro F1 by coordinate ascent, from the highest F1 of each label.

    The most frequent labels, by `counts` of positives [shape=(k,)], are changed first.
    """
    labels, total, usable = len(counts), counts.sum(), max(int((counts > 0).sum()), 1)
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
            choose(label, curve, int(np.argmax(micro + curve.f1 / usable)))
        if (chosen == before).all():
            break
    return thresholds


def _expected_macro(scores: Scores) -> np.ndarray:
    """The threshold with the highest expected F1 is half that F1 (Lipton et al.)."""
    result = np.empty(len(scores.ranked))
    for label, ranked in enumerate(scores.ranked):
        hits = np.cumsum(ranked[::-1], dtype=np.float64)
        result[label] = (hits / (np.arange(1, len(ranked) + 1) + hits[-1])).max()
    return result


Rule: TypeAlias = Literal["expected", "expected_macro", "micromacro", "scut", "pcut", "global", "fixed"]

RULES: dict[str, Callable[[Scores], np.ndarray]] = {
    "expected": _expected,
    "expected_macro": _expected_macro,
    "micromacro": _micromacro,
    "scut": _scut,
    "pcut": _pcut,
    "global": _global,
    "fixed": _fixed,
}
"""By name; see `eno.models.calibration.calibrate.fit_calibration`."""

AVERAGED = ("scut", "micromacro")
"""Rules with noisy thresholds: their mean over the folds is better than thresholds fitted on all rows."""

_NEED_POSITIVES = ("scut", "micromacro", "pcut")


def choose_thresholds(rule: str, scores: Scores) -> np.ndarray:
    """Choose a threshold for every label [shape=(k,), dtype=float64]; 0.5 for all if no label has a positive."""
    if not scores.counts.any():
        return _fixed(scores)
    thresholds = RULES[rule](scores)
    if rule in _NEED_POSITIVES and not scores.counts.all():
        thresholds = np.where(scores.counts > 0, thresholds, _global(scores))
    result: np.ndarray = np.clip(thresholds, 0, NEVER)
    return result


def raise_to_precision(scores: Scores, thresholds: np.ndarray, floor: float) -> np.ndarray:
    """Raise each threshold to the lowest one with a precision of at least `floor`, to `NEVER` if there is none.

    The lowest of many thresholds with the required precision would have a lower one on other rows. Therefore the lower
    end of the Wilson interval of one standard error must reach the floor: for 0.8 this takes at least four predictions,
    all correct.
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
