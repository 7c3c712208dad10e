"""Families of labels of which a row has at most one, such as one genre per folder: their probabilities compete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse
from scipy.special import softmax

from eno.models.calibration.scaling import logits_of
from eno.models.label_weights import LabelWeights

_MIN_ROWS = 20  # with one label each; fewer may have no second label by chance
_MIN_SHARE = 0.9  # of the rows in which the labels are known that have one of them


@dataclass(frozen=True)
class ExclusiveLabels:
    """Sets of labels of which no training row has two.

    Heads fit every label on its own. Where one label rules out the others, the softmax of their logits ranks tracks
    better within each label; ``docs/benchmarks.md`` has measurements.

    Attributes
    ----------
    families : tuple of tuple of int
        Indices of the labels of each set.
    complete : tuple of bool
        Whether each training row has a label of the set; otherwise a row may have none, which competes with them.
    """

    families: tuple[tuple[int, ...], ...] = ()
    complete: tuple[bool, ...] = ()

    @classmethod
    def of(cls, Y: sparse.csr_array, weights: LabelWeights) -> Self:
        """Find the families, as in `weights`, of whose labels no row has two.

        All labels are one family if `weights` has none or a family for each label.
        """
        _, family = np.unique(weights.family, return_inverse=True)
        if family.max(initial=-1) + 1 == len(family):
            family = np.zeros_like(family)
        shape = Y.shape[0], int(family.max(initial=-1)) + 1
        places = np.repeat(np.arange(shape[0]), np.diff(Y.indptr)) * shape[1] + family[Y.indices]
        numbers = np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)
        sums = np.bincount(places, Y.data, minlength=shape[0] * shape[1]).reshape(shape)
        found = []
        for one in range(shape[1]):
            labels = np.flatnonzero(family == one)
            known = (weights.rows[:, np.unique(weights.family[labels])] > 0).all(axis=1)
            number, with_one = numbers[known, one], int(numbers[known, one].sum())
            is_exclusive = number.max(initial=0) == 1 and (sums[known, one] == number).all()
            if len(labels) > 1 and is_exclusive and with_one >= max(_MIN_ROWS, _MIN_SHARE * len(number)):
                found.append((tuple(labels.tolist()), with_one == len(number)))
        return cls(*zip(*found, strict=True)) if found else cls()

    def __bool__(self) -> bool:
        return bool(self.families)

    def compete(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities [shape=(n, k)] whose sum over the labels of each set is 1, or less if it has gaps."""
        if not self.families:
            return probabilities
        result = np.array(probabilities, np.float32)
        for labels, complete in zip(self.families, self.complete, strict=True):
            logits = logits_of(result[:, labels])
            none = np.zeros((len(logits), 0 if complete else 1), np.float32)
            result[:, labels] = softmax(np.hstack([logits, none]), axis=1)[:, : len(labels)]
        return result

    def to_json(self) -> list[dict[str, Any]]:
        """Return the sets as values for JSON."""
        return [
            {"labels": list(labels), "complete": complete}
            for labels, complete in zip(self.families, self.complete, strict=True)
        ]

    @classmethod
    def from_json(cls, content: list[dict[str, Any]]) -> Self:
        """Undo `to_json`."""
        return cls(tuple(tuple(one["labels"]) for one in content), tuple(bool(one["complete"]) for one in content))
