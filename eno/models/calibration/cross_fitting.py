"""What thresholds are worth on rows that they were not learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from eno.models.calibration.scaling import fit_scaling, scale
from eno.models.calibration.thresholds import AVERAGED, RULES, Scores, choose_thresholds, raise_to_precision


@dataclass(frozen=True)
class RuleEstimate:
    """How well a rule's thresholds do on rows that neither they nor the calibration were learned from.

    Attributes
    ----------
    f1_macro : float
        Mean F1 over the labels with positives and negatives.
    f1_micro : float
        F1 over all decisions together.
    """

    f1_macro: float
    f1_micro: float


def divide(rows: int, groups: np.ndarray | None, *, folds: int, seed: int) -> np.ndarray:
    """Divide rows into folds of about the same size, whole groups each.

    Parameters
    ----------
    rows : int
        How many there are.
    groups : np.ndarray [shape=(rows,)], optional
        What rows belong together; without them each is for itself.
    folds : int
        How many folds, at most.
    seed : int
        Decides which groups meet.

    Returns
    -------
    np.ndarray [shape=(rows,), dtype=int64]
        The fold of every row, numbered from 0.

    Raises
    ------
    ValueError
        There are more or fewer groups' values than rows.
    """
    if groups is not None and len(groups) != rows:
        raise ValueError(f"groups has {len(groups)} values for {rows} rows.")
    members = np.arange(rows) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    sizes = np.bincount(members)
    filled = np.zeros(min(folds, len(sizes)), np.int64)
    order = np.random.default_rng(seed).permutation(len(sizes))
    fold_of = np.empty(len(sizes), np.int64)
    # The largest groups first, each into the emptiest fold.
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
        What the head says, a row a label.
    truth : scipy.sparse.csr_array [shape=(k, n)]
        The stored entries are the positives.
    method, min_positives, seed
        See `eno.models.calibration.scaling.fit_scaling`.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    truth: sparse.csr_array
    method: str
    min_positives: int
    seed: int

    def scaling(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes, offsets and which labels took the pooled fit, learned from some rows."""
        logits, truth = self.logits[:, rows], self.truth[:, rows]
        return fit_scaling(logits, truth, method=self.method, min_positives=self.min_positives, seed=self.seed)

    def scaled(self, slopes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of all rows [shape=(k, n), dtype=float32]."""
        return scale(self.probabilities, slopes[:, np.newaxis], offsets[:, np.newaxis])


def cross_fit(
    fitting: Fitting, fold_of: np.ndarray, precision_floor: float | None
) -> tuple[dict[str, RuleEstimate], dict[str, np.ndarray], np.ndarray]:
    """Learn on all folds but one and judge on that one, in turn.

    Parameters
    ----------
    fitting : Fitting
        All rows.
    fold_of : np.ndarray [shape=(n,)]
        What `divide` gave.
    precision_floor : float, optional
        See `eno.models.calibration.calibrate.fit_calibration`.

    Returns
    -------
    estimates : dict of str to RuleEstimate
        By rule, over all rows.
    means : dict of str to np.ndarray [shape=(k,)]
        Mean thresholds of the rules that are averaged.
    held_out : np.ndarray [shape=(k, n), dtype=float32]
        Calibrated probabilities, those of each row by what was learned without its fold.
    """
    truth, folds = fitting.truth, int(fold_of.max()) + 1
    held_out = np.empty_like(fitting.logits)
    hits, predicted = ({rule: np.zeros(len(held_out)) for rule in RULES} for _ in range(2))
    sums = {rule: np.zeros(len(held_out)) for rule in AVERAGED}
    for fold in range(folds):
        # One group alone cannot be held out: then what is learned is learned and looked at on the same rows.
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
    judged = (counts > 0) & (counts < len(fold_of))
    if folds == 1 or not judged.any():
        return {}, sums, held_out
    estimates = {}
    for rule in RULES:
        f1 = 2 * hits[rule] / np.maximum(predicted[rule] + counts, 1)
        micro = 2 * hits[rule][judged].sum() / (predicted[rule] + counts)[judged].sum()
        estimates[rule] = RuleEstimate(float(f1[judged].mean()), float(micro))
    return estimates, sums, held_out
