"""Which labels are taken for which, which go wrong together, and errors to listen to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

_SAME_LABEL = 2  # examples of one label at most
_MIN_TRACKS = 2  # one track may have any two errors


@dataclass(frozen=True)
class ConfusedPair:
    """A label that is predicted in place of another.

    Attributes
    ----------
    predicted, missed : str
        The label that is not true but predicted, and the one that is true but not predicted.
    tracks : int
        On so many tracks.
    lift : float
        How many times as many as if both errors had nothing to do with each other.
    """

    predicted: str
    missed: str
    tracks: int
    lift: float


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """Labels that go wrong on the same tracks.

    Attributes
    ----------
    labels : list of str
        Those with most errors, and what is often wrong together stands together.
    lift : np.ndarray [shape=(m, m)]
        How many times as often as by chance both are wrong on a track; NaN of a label with itself.
    """

    labels: list[str]
    lift: np.ndarray


@dataclass(frozen=True)
class WorstError:
    """A decision that was sure, and wrong.

    Attributes
    ----------
    kind : {"wrong", "missed"}
        Whether the label was predicted and is not true, or the other way round.
    track_id, label : str
        Of what.
    probability, threshold : float
        What was predicted, and above what the label is named.
    true, predicted : tuple of str
        All labels of the track, and all that are predicted, the surest first.
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
    """Find labels that are predicted where another one was missed.

    Parameters
    ----------
    labels : sequence of str [length=k]
        Their names.
    truth, predicted : np.ndarray [shape=(n, k), dtype=bool]
        Labels and decisions.
    top : int
        So many pairs at most.

    Returns
    -------
    list of ConfusedPair
        Those with most tracks beyond what chance would give, on two tracks at least.
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
    """Find labels that go wrong together, in either way.

    Parameters
    ----------
    labels, truth, predicted
        See `confused_pairs`.
    top : int
        So many labels, those with most errors.

    Returns
    -------
    ErrorMap
        Without labels that are never wrong.
    """
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
    *,
    top: int = 8,
) -> list[WorstError]:
    """Find the decisions that were surest and wrong, of different albums, to listen to.

    Parameters
    ----------
    labels : sequence of str [length=k]
    track_ids, albums : sequence of str [length=n]
        Of the rows.
    truth : np.ndarray [shape=(n, k), dtype=bool]
    probabilities : np.ndarray [shape=(n, k)]
    thresholds : np.ndarray [shape=(k,)]
    top : int
        So many of each kind at most, one an album and two a label.

    Returns
    -------
    list of WorstError
        First what was predicted wrongly, then what was missed.
    """
    predicted = probabilities > thresholds
    found = []
    for kind, mask, sign in (("wrong", predicted & ~truth, -1), ("missed", truth & ~predicted, 1)):
        rows, columns = np.nonzero(mask)
        used: set[str] = set()
        of_label: Counter[int] = Counter()
        for i in np.argsort(sign * probabilities[rows, columns], kind="stable"):
            row, column = int(rows[i]), int(columns[i])
            if albums[row] in used or of_label[column] == _SAME_LABEL:
                continue
            used.add(albums[row])
            of_label[column] += 1
            p = probabilities[row]
            true, named = (tuple(labels[j] for j in _surest(one[row], p)) for one in (truth, predicted))
            limit = float(thresholds[column])
            found.append(WorstError(kind, track_ids[row], labels[column], float(p[column]), limit, true, named))
            if len(used) == top:
                break
    return found


def _matrix(values: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array(values, dtype=np.int32)


def _surest(chosen: np.ndarray, probabilities: np.ndarray) -> list[int]:
    columns = np.flatnonzero(chosen)
    order: list[int] = columns[np.argsort(-probabilities[columns], kind="stable")].tolist()
    return order


def _by_neighbours(lift: np.ndarray) -> list[int]:
    """Order labels so that each is followed by the one that it most often goes wrong with."""
    left = list(range(len(lift)))
    order = [left.pop(0)] if left else []
    while left:
        nearest = max(left, key=lambda i: lift[order[-1], i])
        left.remove(nearest)
        order.append(nearest)
    return order
