"""Out-of-fold predictions, and choices made on average over folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from eno.data.labels.values import present
from eno.models.average_precision import macro_map
from eno.models.label_weights import LabelWeights
from eno.views import RowView


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions of training rows by heads that were not fitted on them.

    Attributes
    ----------
    rows : np.ndarray [shape=(n,), dtype=int64]
        Numbers of the rows, ascending: all of them, or those that were held out of a large collection.
    fold_of : np.ndarray [shape=(n,), dtype=int64]
        The fold in which each of them was held out.
    probabilities : np.ndarray or RowView [shape=(n, k), dtype=float32]
        A view in samples.
    truth : scipy.sparse.csr_array [shape=(n, k)]
        The labels of these rows.
    weights : LabelWeights
        Their weights; labels of weight 0 do not count.
    """

    rows: np.ndarray
    fold_of: np.ndarray
    probabilities: np.ndarray | RowView
    truth: sparse.csr_array
    weights: LabelWeights

    def macro_map(self, labels: np.ndarray | None = None) -> float | None:
        """Return the mean over the folds of macro mAP, of all or some labels; None if it is undefined in all of them.

        Probabilities of heads of different folds are not ranked together: differences in their level would count as
        mistakes, which makes a weak head look better than a good one.
        """
        known = [one for one in self.fold_maps(labels) if one is not None]
        return float(np.mean(known)) if known else None

    def fold_maps(self, labels: np.ndarray | None = None) -> list[float | None]:
        """Return the macro mAP in each fold."""
        probabilities, truth, weights = self.probabilities, self.truth, self.weights
        if labels is not None:
            probabilities, truth, weights = probabilities[:, labels], truth[:, labels], weights.of_labels(labels)
        found = []
        for fold in np.unique(self.fold_of):
            rows = np.flatnonzero(self.fold_of == fold)
            predicted = probabilities if len(rows) == len(self.rows) else probabilities[rows]
            found.append(macro_map(present(truth[rows]).toarray(), predicted, weights[rows].known()))
        return found

    def sample(self, values: int, seed: int) -> OutOfFold:
        """Return a random sample of the rows, so that rows times labels are at most about `values`.

        Its probabilities are a view: copies for all heads of a blend would take as much memory again.
        """
        rows, labels = self.probabilities.shape
        wanted = max(1, values // labels)
        if rows <= wanted:
            return self
        some = np.sort(np.random.default_rng(seed).choice(rows, wanted, replace=False))
        probabilities = RowView(self.probabilities, some)
        return OutOfFold(self.rows[some], self.fold_of[some], probabilities, self.truth[some], self.weights[some])


def mean_by_choice(maps: Iterable[Mapping[Any, float]]) -> dict[Any, float]:
    """Return the mean macro mAP over folds of every choice that all of them tried; empty if there is none."""
    known = [one for one in maps if one]
    tried = [choice for choice in known[0] if all(choice in one for one in known)] if known else []
    return {choice: float(np.mean([one[choice] for one in known])) for choice in tried}
