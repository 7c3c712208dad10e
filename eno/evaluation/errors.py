"""Confused labels, labels with correlated errors, and the most confident errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

_MAX_PER_LABEL = 2  # examples of one label
_MIN_TRACKS = 2  # two errors on a single track mean little


@dataclass(frozen=True)
class ConfusedPair:
    """A label that is predicted in place of a missed one.

    Attributes
    ----------
    tracks : int
        Number of tracks with both errors.
    lift : float
        That number divided by the number expected if both errors were independent.
    """

    predicted: str
    missed: str
    tracks: int
    lift: float


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """The labels with the most errors, ordered so that those with coinciding errors are next to each other.

    Attributes
    ----------
    lift : np.ndarray [shape=(m, m)]
        Frequency of coinciding errors divided by that of independent errors; NaN on the diagonal.
    """

    labels: list[str]
    lift: np.ndarray


@dataclass(frozen=True)
class WorstError:
    """A wrong decision with a confident probability.

    Attributes
    ----------
    kind : {"wrong", "missed"}
        False positive or false negative.
    true, predicted : tuple of str
        All true and all predicted labels of the track, the most probable first.
    """

    kind: str
    track_id: str
    label: str
    probability: float
    threshold: float
    true: tuple[str, ...]
    predicted: tuple[str, ...]


def confused_pairs(
    labels: Sequence[str], truth: np.ndarray, predicted: np.ndarray, *, top: int = 20
) -> list[ConfusedPair]:
    """Find pairs of a false positive and a false negative that coincide more often than by chance.

    Pairs with the largest excess come first; pairs on a single track are omitted. `truth` and `predicted` are boolean
    [shape=(n, k)].
    """
    wrong, missed = _matrix(predicted & ~truth), _matrix(truth & ~predicted)
    both = sparse.coo_array(wrong.T @ missed)
    expected = wrong.sum(axis=0)[both.row].astype(float) * missed.sum(axis=0)[both.col] / max(1, len(truth))
    order = np.lexsort((both.col, both.row, expected - both.data))
    chosen = [i for i in order if both.data[i] >= _MIN_TRACKS and both.data[i] > expected[i]][:top]
    return [
        ConfusedPair(labels[both.row[i]], labels[both.col[i]], int(both.data[i]), float(both.data[i] / expected[i]))
        for i in chosen
    ]


def error_map(labels: Sequence[str], truth: np.ndarray, predicted: np.ndarray, *, top: int = 20) -> ErrorMap:
    """Find the `top` labels with the most errors of either kind, and how often their errors coincide."""
    errors = predicted != truth
    counts = errors.sum(axis=0)
    chosen = np.argsort(-counts, kind="stable")[:top]
    chosen = chosen[counts[chosen] > 0]
    part = _matrix(errors[:, chosen])
    both = (part.T @ part).toarray().astype(float)
    lift = both * len(truth) / np.outer(counts[chosen], counts[chosen]) if len(chosen) else both
    np.fill_diagonal(lift, np.nan)
    order = _by_neighbours(lift)
    return ErrorMap([labels[chosen[i]] for i in order], lift[np.ix_(order, order)])


def worst_errors(
    labels: Sequence[str],
    track_ids: Sequence[str],
    albums: Sequence[str] | np.ndarray,
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    known: np.ndarray | None = None,
    *,
    top: int = 8,
) -> list[WorstError]:
    """Find the most confident false positives, then false negatives: `top` of each, one per album and two per label.

    Parameters
    ----------
    track_ids, albums : sequence of str [length=n]
    truth : np.ndarray [shape=(n, k), dtype=bool]
    probabilities, thresholds : np.ndarray [shape=(n, k), (k,)]
    known : np.ndarray [shape=(n, k), dtype=bool], optional
        Which labels are known; the others are not predicted, nor may they be true.
    """
    predicted = probabilities > thresholds
    if known is not None:
        predicted &= known
    found = []
    for kind, mask, sign in (("wrong", predicted & ~truth, -1), ("missed", truth & ~predicted, 1)):
        rows, columns = np.nonzero(mask)
        used: set[str] = set()
        of_label: Counter[int] = Counter()
        for i in np.argsort(sign * probabilities[rows, columns], kind="stable"):
            row, column = int(rows[i]), int(columns[i])
            if albums[row] in used or of_label[column] == _MAX_PER_LABEL:
                continue
            used.add(albums[row])
            of_label[column] += 1
            p = probabilities[row]
            true, named = (tuple(labels[j] for j in _by_probability(one[row], p)) for one in (truth, predicted))
            limit = float(thresholds[column])
            found.append(WorstError(kind, track_ids[row], labels[column], float(p[column]), limit, true, named))
            if len(used) == top:
                break
    return found


def _matrix(values: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array(values, dtype=np.int32)


def _by_probability(chosen: np.ndarray, probabilities: np.ndarray) -> list[int]:
    columns = np.flatnonzero(chosen)
    order: list[int] = columns[np.argsort(-probabilities[columns], kind="stable")].tolist()
    return order


def _by_neighbours(lift: np.ndarray) -> list[int]:
    """Order labels so that each is followed by the one whose errors coincide with its own most."""
    left = list(range(len(lift)))
    order = [left.pop(0)] if left else []
    while left:
        nearest = max(left, key=lambda i: lift[order[-1], i])
        left.remove(nearest)
        order.append(nearest)
    return order
