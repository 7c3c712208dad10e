"""Families of labels of which a row has at most one, such as one genre per folder: their probabilities compete."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse
from scipy.special import softmax

from eno.models.calibration.scaling import logits_of
from eno.models.label_weights import LabelWeights

_MIN_ROWS = 20  # with one label each; fewer may have no second label by chance
_MIN_SHARE = 0.9  # of the rows in which the labels are known that have one of them
_RAREST = 1e-7  # share of the rows that do not have a label


@dataclass(frozen=True)
class ExclusiveFamily:
    """Labels of which no training row has two.

    Attributes
    ----------
    labels : tuple of int
        Their indices.
    shares : tuple of float
        Share of the training rows that have each of them.
    none : float
        Share of the training rows that have none of them.
    """

    labels: tuple[int, ...]
    shares: tuple[float, ...]
    none: float

    @property
    def offsets(self) -> np.ndarray:
        """What is added to the logits of the labels [shape=(len(labels),), dtype=float32]."""
        offsets: np.ndarray = np.log(np.maximum(1 - np.array(self.shares), _RAREST)).astype(np.float32)
        return offsets


@dataclass(frozen=True)
class ExclusiveLabels:
    """All families of labels that exclude each other.

    Heads fit every label on its own. Where one label rules out the others, they compete: probabilities are the softmax
    of the logits plus ``log(1 - share)`` of each label. If a head knows nothing about a track, it predicts the shares
    themselves, and they stay as they are. This is Bayes' rule, assuming that a track is equally likely among the rows
    without a label, whichever label that is.
    ``docs/benchmarks.md`` has measurements.
    """

    families: tuple[ExclusiveFamily, ...] = ()

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
            of_rows = weights.rows[:, np.unique(weights.family[labels])]
            known = np.flatnonzero((of_rows > 0).all(axis=1))
            number, with_one = numbers[known, one], int(numbers[known, one].sum())
            is_exclusive = number.max(initial=0) == 1 and (sums[known, one] == number).all()
            if len(labels) > 1 and is_exclusive and with_one >= max(_MIN_ROWS, _MIN_SHARE * len(known)):
                weight = of_rows[known].mean(axis=1, dtype=np.float64)
                shares = (weight @ Y[known][:, labels]) / weight.sum()
                none = 0.0 if with_one == len(known) else float(1 - shares.sum())
                found.append(ExclusiveFamily(tuple(labels.tolist()), tuple(shares.tolist()), none))
        return cls(tuple(found))

    def __bool__(self) -> bool:
        return bool(self.families)

    def compete(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities [shape=(n, k)] whose sum over each family is 1, or less if some rows have none of it."""
        if not self.families:
            return probabilities
        result = np.array(probabilities, np.float32)
        for one in self.families:
            labels = list(one.labels)
            logits = logits_of(result[:, labels]) + one.offsets
            if one.none:
                logits = np.hstack([logits, np.full((len(logits), 1), np.log(one.none), np.float32)])
            result[:, labels] = softmax(logits, axis=1)[:, : len(labels)]
        return result

    def to_json(self) -> list[dict[str, Any]]:
        """Return the families as values for JSON."""
        return [asdict(one) for one in self.families]

    @classmethod
    def from_json(cls, content: list[dict[str, Any]]) -> Self:
        """Undo `to_json`."""
        return cls(tuple(ExclusiveFamily(tuple(one["labels"]), tuple(one["shares"]), one["none"]) for one in content))
