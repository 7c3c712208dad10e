"""Cross-fitting: F1 of every threshold rule on held-out folds, and out-of-fold probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from eno.models.calibration.scaling import Method, fit_scaling, logits_of, scale
from eno.models.calibration.thresholds import (
    AVERAGED,
    NEVER,
    RULES,
    Scores,
    choose_thresholds,
    raise_to_precision,
)
from eno.views import MappedView, RowView

_SAME = 1e-4  # largest difference of logits that are equal but for rounding, as in a blend of base rates
_EVEN = 0.5


@dataclass(frozen=True)
class RuleEstimate:
    """Out-of-fold F1 of a threshold rule: macro, over labels with positives and negatives, and micro."""

    f1_macro: float
    f1_micro: float


def divide(rows: int, groups: np.ndarray | None, *, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row [shape=(rows,)], from 0. Groups stay whole, and folds have similar sizes."""
    if groups is not None and len(groups) != rows:
        raise ValueError(f"groups has {len(groups)} values for {rows} rows.")
    members = np.arange(rows) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    sizes = np.bincount(members)
    filled = np.zeros(min(folds, len(sizes)), np.int64)
    order = np.random.default_rng(seed).permutation(len(sizes))
    fold_of = np.empty(len(sizes), np.int64)
    # The largest groups first, each into the smallest fold.
    for group in order[np.argsort(-sizes[order], kind="stable")].tolist():
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return fold_of[members]


@dataclass(frozen=True)
class Fitting:
    """Validation rows, and how they are calibrated.

    Attributes
    ----------
    probabilities : np.ndarray [shape=(k, n), dtype=float32]
        One row per label.
    truth : scipy.sparse.csr_array [shape=(k, n)]
        The stored entries are the positives.
    known : np.ndarray [shape=(k, n), dtype=bool] or None
        Which labels are known; None if all are.

    Notes
    -----
    A label with the same probability for all rows, such as the base rate of a label that no training row has, is
    neither scaled nor does it take part in the choice of thresholds: it is predicted if its probability is above 0.5.
    """

    probabilities: np.ndarray
    truth: sparse.csr_array
    known: np.ndarray | None
    method: Method
    min_positives: int
    seed: int

    @cached_property
    def varying(self) -> np.ndarray:
        """Indices of the labels whose probabilities differ between rows [dtype=int64]."""
        if self.probabilities.shape[1] == 1:
            return np.arange(len(self.probabilities))
        highest, lowest = (logits_of(ends) for ends in (self.probabilities.max(axis=1), self.probabilities.min(axis=1)))
        return np.flatnonzero(highest - lowest > _SAME)

    def scaling(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fit on some rows; see `eno.models.calibration.scaling.fit_scaling`."""
        labels, count = self.probabilities.shape
        slopes, offsets, pooled = np.ones(labels), np.zeros(labels), np.zeros(labels, bool)
        some = self.probabilities if len(rows) == count else self.probabilities[:, rows]
        slopes[self.varying], offsets[self.varying], pooled[self.varying] = fit_scaling(
            MappedView(RowView(some, self.varying), logits_of, len(rows)),
            self.truth[self.varying][:, rows],
            method=self.method,
            min_positives=self.min_positives,
            seed=self.seed,
            known=self.known_at(np.ix_(self.varying, rows)),
        )
        return slopes, offsets, pooled

    def thresholds(self, rule: str, scores: Scores) -> np.ndarray:
        """Choose a threshold for every label from the `Scores` of those that vary [shape=(k,)]."""
        thresholds = np.where(self.probabilities[:, 0] > _EVEN, _EVEN, NEVER)
        thresholds[self.varying] = choose_thresholds(rule, scores)
        return thresholds

    def scores(self, slopes: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> Scores:
        """Return the sorted calibrated probabilities on some rows of the labels that vary."""
        known = self.known_at(np.ix_(self.varying, rows))
        calibrated = (self.scaled(slopes, offsets, [label])[0, rows] for label in self.varying.tolist())
        return Scores(calibrated, self.truth[self.varying][:, rows], known)

    def known_at(self, at: Any) -> np.ndarray | None:
        """Return which labels are known at some places."""
        return None if self.known is None else self.known[at]

    def raised(self, calibrated: np.ndarray, rows: np.ndarray, thresholds: np.ndarray, floor: float) -> np.ndarray:
        """See `eno.models.calibration.thresholds.raise_to_precision`; on some rows, for all labels."""
        at = np.s_[:, rows]
        return raise_to_precision(Scores(calibrated[at], self.truth[at], self.known_at(at)), thresholds, floor)

    def some(self, rows: np.ndarray) -> Fitting:
        """Return some of the rows only."""
        known = None if self.known is None else self.known[:, rows]
        return replace(self, probabilities=self.probabilities[:, rows], truth=self.truth[:, rows], known=known)

    def scaled(self, slopes: np.ndarray, offsets: np.ndarray, labels: slice | list[int] = slice(None)) -> np.ndarray:
        """Return calibrated probabilities of all rows, for all or some labels [shape=(k, n), dtype=float32]."""
        return scale(self.probabilities[labels], slopes[labels, np.newaxis], offsets[labels, np.newaxis])


def cross_fit(
    fitting: Fitting, fold_of: np.ndarray, precision_floor: float | None
) -> tuple[dict[str, RuleEstimate], dict[str, np.ndarray], np.ndarray]:
    """Fit on all folds but one and evaluate on that one, in turn.

    Returns
    -------
    estimates : dict of str to RuleEstimate
        By rule; empty if no rows could be held out.
    means : dict of str to np.ndarray [shape=(k,)]
        Mean thresholds of the rules in `AVERAGED`.
    held_out : np.ndarray [shape=(k, n), dtype=float32]
        Out-of-fold calibrated probabilities.
    """
    truth, folds = fitting.truth, int(fold_of.max()) + 1
    held_out = np.empty_like(fitting.probabilities)
    hits, predicted = ({rule: np.zeros(len(held_out)) for rule in RULES} for _ in range(2))
    sums = {rule: np.zeros(len(held_out)) for rule in AVERAGED}
    for fold in range(folds):
        # A single group cannot be held out: then all rows are used for both.
        rows, others = np.flatnonzero(fold_of == fold), np.flatnonzero((fold_of != fold) | (folds == 1))
        slopes, offsets, _ = fitting.scaling(others)
        calibrated = fitting.scaled(slopes, offsets)
        held_out[:, rows] = calibrated[:, rows]
        scores = fitting.scores(slopes, offsets, others)
        positives = truth[:, rows].tocoo()
        for rule in RULES:
            thresholds = fitting.thresholds(rule, scores)
            if rule in sums:
                sums[rule] += thresholds / folds
            if precision_floor is not None:
                thresholds = fitting.raised(calibrated, others, thresholds, precision_floor)
            decided = held_out[:, rows] > thresholds[:, np.newaxis]
            if fitting.known is not None:
                decided &= fitting.known[:, rows]
            hits[rule] += np.bincount(positives.row, decided[positives.row, positives.col], len(held_out))
            predicted[rule] += decided.sum(axis=1)
    counts = np.diff(truth.indptr)
    usable = (counts > 0) & (counts < (len(fold_of) if fitting.known is None else fitting.known.sum(axis=1)))
    if folds == 1 or not usable.any():
        return {}, sums, held_out
    estimates = {}
    for rule in RULES:
        f1 = 2 * hits[rule] / np.maximum(predicted[rule] + counts, 1)
        micro = 2 * hits[rule][usable].sum() / (predicted[rule] + counts)[usable].sum()
        estimates[rule] = RuleEstimate(float(f1[usable].mean()), float(micro))
    return estimates, sums, held_out
