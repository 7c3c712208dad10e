"""Cross-fitting: F1 of every threshold rule on held-out folds, and out-of-fold probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from eno.models.calibration.scaling import Method, fit_scaling, scale
from eno.models.calibration.thresholds import AVERAGED, RULES, Scores, choose_thresholds, raise_to_precision


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
    probabilities, logits : np.ndarray [shape=(k, n), dtype=float32]
        One row per label.
    truth : scipy.sparse.csr_array [shape=(k, n)]
        The stored entries are the positives.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    truth: sparse.csr_array
    method: Method
    min_positives: int
    seed: int

    def scaling(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fit on some rows; see `eno.models.calibration.scaling.fit_scaling`."""
        logits, truth = self.logits[:, rows], self.truth[:, rows]
        return fit_scaling(logits, truth, method=self.method, min_positives=self.min_positives, seed=self.seed)

    def scaled(self, slopes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of all rows [shape=(k, n), dtype=float32]."""
        return scale(self.probabilities, slopes[:, np.newaxis], offsets[:, np.newaxis])


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
    held_out = np.empty_like(fitting.logits)
    hits, predicted = ({rule: np.zeros(len(held_out)) for rule in RULES} for _ in range(2))
    sums = {rule: np.zeros(len(held_out)) for rule in AVERAGED}
    for fold in range(folds):
        # A single group cannot be held out: then all rows are used for both.
        rows, others = np.flatnonzero(fold_of == fold), np.flatnonzero((fold_of != fold) | (folds == 1))
        slopes, offsets, _ = fitting.scaling(others)
        calibrated = fitting.scaled(slopes, offsets)
        held_out[:, rows] = calibrated[:, rows]
        scores = Scores(calibrated[:, others], truth[:, others])
        positives = truth[:, rows].tocoo()
        for rule in RULES:
            thresholds = choose_thresholds(rule, scores)
            if rule in sums:
                sums[rule] += thresholds / folds
            if precision_floor is not None:
                thresholds = raise_to_precision(scores, thresholds, precision_floor)
            decided = held_out[:, rows] > thresholds[:, np.newaxis]
            hits[rule] += np.bincount(positives.row, decided[positives.row, positives.col], len(held_out))
            predicted[rule] += decided.sum(axis=1)
    counts = np.diff(truth.indptr)
    usable = (counts > 0) & (counts < len(fold_of))
    if folds == 1 or not usable.any():
        return {}, sums, held_out
    estimates = {}
    for rule in RULES:
        f1 = 2 * hits[rule] / np.maximum(predicted[rule] + counts, 1)
        micro = 2 * hits[rule][usable].sum() / (predicted[rule] + counts)[usable].sum()
        estimates[rule] = RuleEstimate(float(f1[usable].mean()), float(micro))
    return estimates, sums, held_out
